// The events of the daemon over one WebSocket that comes back by itself.
//
//   connecting ──first message──► live ──asked, 5 s without answer──► stale ──20 s──► waiting ──back-off──► connecting
//                                   ▲─────────────any message───────────┘
//
// A browser does not see the server's pings, so a quiet line is asked for a snapshot: the answer is the proof of life.

const IDLE_MS = 10_000;
const STALE_MS = 5_000;
const DEAD_MS = 20_000;
const OPEN_MS = 10_000;

const CLOSED = {
  1001: "The daemon is shutting down.",
  1006: "The connection was lost.",
  1012: "The daemon is restarting.",
  4008: "This page could not keep up and was cut off.",
};

/** Milliseconds before an attempt, counted from 0: 1 s doubling to 30 s, half of it by chance. */
export const backoff = (attempt, chance = Math.random()) => Math.min(30, 2 ** attempt) * 1000 * (0.5 + chance / 2);

export class EventSocket {
  #socket = null;
  #phase = "connecting";
  #words = "";
  #attempt = 0;
  #openedAt = 0;
  #heardAt = 0;
  #askedAt = 0;
  #retryAt = 0;

  /** `probe` runs before every attempt; `onEvent(event, fresh)`: `fresh` is the first one of a connection. */
  constructor({ open, probe, onEvent, onPhase }) {
    Object.assign(this, { open, probe, onEvent, onPhase });
  }

  start() {
    setInterval(() => this.#tick(), 1000);
    addEventListener("online", () => this.#phase === "waiting" && this.#connect());
    document.addEventListener("visibilitychange", () => document.hidden || this.#ask());
    this.#connect();
  }

  /** `seconds` until the next attempt, or since the last word of a stale line. */
  #enter(phase, words = "", seconds = 0) {
    this.#phase = phase;
    this.#words = words;
    this.onPhase(phase, words, seconds);
  }

  #countDown(words) {
    this.#enter("waiting", words, Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000)));
  }

  async #connect() {
    this.#enter("connecting");
    try {
      await this.probe();
    } catch (error) {
      return this.#wait(error.message);
    }
    const socket = this.open();
    this.#socket = socket;
    this.#openedAt = Date.now();
    this.#heardAt = this.#askedAt = 0;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#wait(CLOSED[code] ?? reason);
  }

  #receive(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // nothing to act on: the next message, or the silence, will tell
    }
    const fresh = !this.#heardAt;
    this.#heardAt = Date.now();
    this.#askedAt = this.#attempt = 0;
    if (this.#phase !== "live") this.#enter("live");
    this.onEvent(event, fresh);
  }

  #ask() {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#askedAt) return;
    this.#askedAt = Date.now();
    this.#socket.send('{"type":"snapshot"}');
  }

  #tick() {
    const now = Date.now();
    if (this.#phase === "waiting") {
      if (now >= this.#retryAt) this.#connect();
      else this.#countDown(this.#words);
    } else if (!this.#socket) {
      return; // the probe has its own deadline
    } else if (!this.#heardAt) {
      if (now - this.#openedAt > OPEN_MS) this.#wait("The daemon does not answer.");
    } else if (!this.#askedAt) {
      if (now - this.#heardAt >= IDLE_MS) this.#ask();
    } else if (now - this.#askedAt >= DEAD_MS) {
      this.#wait("The daemon has gone silent.");
    } else if (now - this.#askedAt >= STALE_MS) {
      this.#enter("stale", "No word from the daemon", Math.round((now - this.#heardAt) / 1000));
    }
  }

  #wait(words) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#retryAt = Date.now() + backoff(this.#attempt++);
    this.#countDown(words || "The connection was closed.");
  }
}

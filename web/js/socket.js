// The events of the daemon over one WebSocket that comes back by itself.
//
//   connecting ──open, snapshot──► live ──no answer for 5 s──► stale ──20 s──► waiting ──back-off──► connecting
//                                   ▲─────────any message────────┘
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
  1013: "The daemon has too many subscribers.",
  4008: "This page could not keep up and was cut off.",
};

/** @param {number} attempt from 0 @param {number} random 0 to 1 @returns {number} milliseconds: 1 s doubling to 30 s, half of it by chance */
export const backoff = (attempt, random = Math.random()) => Math.min(30, 2 ** attempt) * 1000 * (0.5 + random / 2);

export class EventSocket {
  #socket = null;
  #phase = "connecting";
  #attempt = 0;
  #heard = 0;
  #asked = 0;
  #since = 0;
  #retryAt = 0;

  /**
   * @param {object} wires
   * @param {() => WebSocket} wires.open
   * @param {(event: any, fresh: boolean) => void} wires.onEvent `fresh` on the first message of a connection
   * @param {(phase: Phase, words: string) => void} wires.onPhase
   * @param {() => Promise<unknown>} wires.probe before every attempt; asks for the token where it is needed
   */
  constructor({ open, onEvent, onPhase, probe }) {
    this.open = open;
    this.onEvent = onEvent;
    this.onPhase = onPhase;
    this.probe = probe;
  }

  start() {
    setInterval(() => this.#tick(), 1000);
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#ask());
    this.#connect();
  }

  /** @returns {number} seconds until the next attempt; 0 unless waiting */
  get retryInS() {
    return this.#phase === "waiting" ? Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000)) : 0;
  }

  retryNow() {
    if (this.#phase === "waiting") this.#connect();
  }

  #enter(phase, words = "") {
    if (phase === this.#phase && !words) return;
    this.#phase = phase;
    this.onPhase(phase, words);
  }

  async #connect() {
    this.#enter("connecting");
    try {
      await this.probe();
    } catch (error) {
      this.#wait(error.message);
      return;
    }
    const socket = this.open();
    this.#socket = socket;
    this.#since = Date.now();
    this.#heard = this.#asked = 0;
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#wait(CLOSED[code] ?? reason);
  }

  #receive(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not ours to crash over: the next message, or the silence, will tell
    }
    const fresh = this.#heard === 0;
    this.#heard = Date.now();
    this.#asked = 0;
    this.#attempt = 0;
    this.#enter("live");
    this.onEvent(event, fresh);
  }

  #ask() {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#asked || !this.#heard) return;
    this.#asked = Date.now();
    this.#socket.send('{"type":"snapshot"}');
  }

  #tick() {
    const now = Date.now();
    if (this.#phase === "waiting") {
      if (now >= this.#retryAt) this.#connect();
      else this.onPhase("waiting", "");
    } else if (!this.#socket) {
      return; // the probe has its own deadline
    } else if (!this.#heard) {
      if (now - this.#since > OPEN_MS) this.#wait("The daemon does not answer.");
    } else if (!this.#asked) {
      if (now - this.#heard >= IDLE_MS) this.#ask();
    } else if (now - this.#asked >= DEAD_MS) {
      this.#wait("The daemon has gone silent.");
    } else if (now - this.#asked >= STALE_MS) {
      this.#enter("stale", `No word from the daemon for ${Math.round((now - this.#heard) / 1000)} s.`);
    }
  }

  #wait(words) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#retryAt = Date.now() + backoff(this.#attempt++);
    this.#enter("waiting", words || "The connection was closed.");
  }
}

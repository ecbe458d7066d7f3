// This browser's microphone as a call: getUserMedia → audio worklet → 16-bit PCM → /ws/ingest.

import { address, get, openSocket } from "./api.js";

const READY_MS = 10_000;
const GOODBYE_MS = 5_000;
const BEHIND_S = 5;

/** What the browser says of a microphone that it does not give, in words that say what to do. @type {Record<string, string>} */
const DENIED = {
  NotAllowedError: "The browser did not allow it. Allow the microphone for this page and try again.",
  NotFoundError: "This computer has no microphone that the browser can see.",
  NotReadableError: "Another program holds the microphone. Close it and try again.",
};

export class Recorder {
  #stream = null;
  #audio = null;
  #socket = null;
  #ending = false;
  sentS = 0;

  /**
   * @param {object} wires
   * @param {(peak: number) => void} wires.onLevel highest sample of each block, 0 to 1
   * @param {(words: string, failed: boolean) => void} wires.onEnd exactly once for every `start` that resolved
   */
  constructor({ onLevel, onEnd }) {
    this.onLevel = onLevel;
    this.onEnd = onEnd;
  }

  /** @returns {Promise<string>} the call id @throws {Error} in words, with everything let go of again */
  async start() {
    this.sentS = 0;
    if (!navigator.mediaDevices) throw new Error("Browsers give the microphone only to pages from localhost or over HTTPS.");
    try {
      await get("api/model/status").catch((error) => error.response ?? Promise.reject(error));
      const processing = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: { ...processing, channelCount: 1 } });
      this.#audio = new AudioContext();
      await this.#audio.audioWorklet.addModule(address("js/recorder-worklet.js").href);
      const id = await this.#greet(this.#stream.getAudioTracks()[0], this.#audio.sampleRate);
      this.#record(this.#stream, this.#audio);
      return id;
    } catch (error) {
      this.#release();
      const { name, message } = error;
      throw new Error(DENIED[name] ?? message);
    }
  }

  /** Say goodbye and wait for the daemon's; `onEnd` follows. */
  stop() {
    if (this.#ending || !this.#socket) return;
    this.#ending = true;
    this.#quiet();
    this.#socket.send('{"type":"end"}');
    setTimeout(() => this.#socket?.close(), GOODBYE_MS);
  }

  /** Hello, and the daemon's ready. @returns {Promise<string>} */
  #greet(microphone, rate) {
    const socket = openSocket("ws/ingest");
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      let ready = false;
      let words = "The daemon closed the call.";
      const deadline = setTimeout(() => reject(new Error("The daemon did not take the call in time.")), READY_MS);
      const hello = { sample_rate: rate, encoding: "pcm_s16le", channels: 1, metadata: { client: "browser", microphone: microphone.label } };
      socket.onopen = () => socket.send(JSON.stringify(hello));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "ready") {
          ready = true;
          clearTimeout(deadline);
          resolve(message.call_id);
        } else if (message.type === "error") words = message.message;
      };
      socket.onclose = () => {
        clearTimeout(deadline);
        if (!ready) reject(new Error(words));
        else {
          const failed = !this.#ending;
          this.#release();
          this.onEnd(failed ? words : "", failed);
        }
      };
      microphone.onended = () => this.stop();
    });
  }

  #record(stream, audio) {
    const source = audio.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(audio, "recorder", { channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data: { pcm, peak } }) => {
      const socket = this.#socket;
      if (this.#ending || socket?.readyState !== WebSocket.OPEN) return;
      // Dropping a block would move everything after it in time, so a line that is too slow ends the call.
      if (socket.bufferedAmount > BEHIND_S * audio.sampleRate * 2) return this.stop();
      socket.send(pcm);
      this.sentS += pcm.byteLength / 2 / audio.sampleRate;
      this.onLevel(peak);
    };
    source.connect(node).connect(audio.destination); // the node is silent; unconnected it would not run
  }

  #quiet() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#audio?.close();
    this.#stream = this.#audio = null;
  }

  #release() {
    this.#quiet();
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < WebSocket.CLOSING) socket.close();
    this.#ending = false;
  }
}

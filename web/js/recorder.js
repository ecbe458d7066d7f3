// This browser's microphone as a call: getUserMedia → audio worklet → 16-bit PCM → /ws/ingest.

import { address, getModel, openSocket } from "./api.js";

const READY_MS = 10_000;
const GOODBYE_MS = 5_000;
const BEHIND_S = 5;
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

/** Why the browser gives no microphone, in words that say what to do. */
const DENIED = {
  NotAllowedError: "The browser did not allow it. Allow the microphone for this page and try again.",
  NotFoundError: "This computer has no microphone that the browser can see.",
  NotReadableError: "Another program holds the microphone. Close it and try again.",
};

export class Recorder {
  #stream = null;
  #audio = null;
  #socket = null;
  #why = null;
  sentS = 0;

  /** `onLevel(peak)` for each block, 0 to 1; `onEnd(wrong)` once for every start that succeeded, "" if all is well. */
  constructor({ onLevel, onEnd }) {
    Object.assign(this, { onLevel, onEnd });
  }

  /** Resolves with the call id; rejects in words, with everything let go of again. */
  async start() {
    if (!navigator.mediaDevices) throw new Error("Browsers give the microphone only to localhost and over HTTPS.");
    this.sentS = 0;
    this.#why = null;
    try {
      await getModel(); // asks for the token where one is needed
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
      this.#audio = new AudioContext();
      await this.#audio.audioWorklet.addModule(address("js/recorder-worklet.js"));
      const id = await this.#greet();
      this.#record();
      return id;
    } catch (error) {
      this.#release();
      throw new Error(DENIED[error.name] ?? error.message);
    }
  }

  /** Say goodbye and wait for the daemon's; `onEnd` follows. `why` is what went wrong, if anything did. */
  stop(why = "") {
    if (this.#why !== null) return;
    this.#why = why;
    this.#silence();
    this.#socket.send('{"type":"end"}');
    setTimeout(() => this.#socket?.close(), GOODBYE_MS);
  }

  /** Hello, and the daemon's ready; whatever ends the call arrives here too. */
  #greet() {
    const [microphone] = this.#stream.getAudioTracks();
    const metadata = { client: "browser", microphone: microphone.label };
    const hello = { sample_rate: this.#audio.sampleRate, encoding: "pcm_s16le", channels: 1, metadata };
    const socket = openSocket("ws/ingest");
    this.#socket = socket;
    microphone.onended = () => this.stop("The microphone was unplugged or taken away.");
    return new Promise((resolve, reject) => {
      let ready = false;
      let wrong = "The daemon closed the call.";
      setTimeout(() => reject(new Error("The daemon did not take the call in time.")), READY_MS);
      socket.onopen = () => socket.send(JSON.stringify(hello));
      socket.onmessage = ({ data }) => {
        const { type, call_id, message } = JSON.parse(data);
        if (type === "error") wrong = message;
        if (type !== "ready") return;
        ready = true;
        resolve(call_id);
      };
      socket.onclose = () => {
        if (!ready) return reject(new Error(wrong));
        this.#release();
        this.onEnd(this.#why ?? wrong);
      };
    });
  }

  #record() {
    const { sampleRate, destination } = this.#audio;
    const source = this.#audio.createMediaStreamSource(this.#stream);
    const node = new AudioWorkletNode(this.#audio, "recorder", { channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data: { pcm, peak } }) => {
      if (this.#why !== null || this.#socket?.readyState !== WebSocket.OPEN) return;
      // Dropping a block would move everything after it in time, so a line that is too slow ends the call.
      const behindS = this.#socket.bufferedAmount / 2 / sampleRate;
      if (behindS > BEHIND_S) return this.stop("The line to the daemon is too slow.");
      this.#socket.send(pcm);
      this.sentS += pcm.byteLength / 2 / sampleRate;
      this.onLevel(peak);
    };
    source.connect(node).connect(destination); // the node is silent; unconnected it would not run
  }

  #silence() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#audio?.close();
    this.#stream = this.#audio = null;
  }

  #release() {
    this.#silence();
    this.#socket?.close();
    this.#socket = null;
  }
}

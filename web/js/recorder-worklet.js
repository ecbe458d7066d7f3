// Runs in the audio thread: gathers the microphone's quanta of 128 samples into blocks of 16-bit PCM.

const BLOCK = 2048; // 43 ms at 48 kHz

class Recorder extends AudioWorkletProcessor {
  block = new Int16Array(BLOCK);
  filled = 0;
  peak = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.peak = Math.max(this.peak, Math.abs(clipped));
      this.block[this.filled++] = Math.round(clipped * 32767);
      if (this.filled === BLOCK) this.#send();
    }
    return true;
  }

  #send() {
    const pcm = this.block.buffer;
    this.port.postMessage({ pcm, peak: this.peak }, [pcm]);
    this.block = new Int16Array(BLOCK);
    this.filled = this.peak = 0;
  }
}

registerProcessor("recorder", Recorder);

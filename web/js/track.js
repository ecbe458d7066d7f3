// The scores of one leg over time, in columns. NaN is "no score": a hole in the line, never a zero.

export const DECISIONS = ["unknown", "human", "suspicious", "synthetic"];
const LIMIT = 7200; // one hour at two windows a second; older points stay with the daemon

export class Track {
  length = 0;
  t = new Float64Array(256);
  score = new Float32Array(256);
  smoothed = new Float32Array(256);
  speech = new Float32Array(256);
  decision = new Uint8Array(256);

  get last() {
    return this.length ? this.t[this.length - 1] : 0;
  }

  /** Points must come in order of time; one that does not is old news and is left out. */
  push({ end_s, score, smoothed, speech_s, decision }) {
    if (this.length && !(end_s > this.last)) return;
    if (this.length === this.t.length) this.#makeRoom();
    const i = this.length++;
    this.t[i] = end_s;
    this.score[i] = score ?? NaN;
    this.smoothed[i] = smoothed ?? NaN;
    this.speech[i] = speech_s;
    this.decision[i] = Math.max(0, DECISIONS.indexOf(decision));
  }

  at(i) {
    const [score, smoothed] = [this.score[i], this.smoothed[i]].map((value) => (Number.isNaN(value) ? null : value));
    return { end_s: this.t[i], score, smoothed, speech_s: this.speech[i], decision: DECISIONS[this.decision[i]] };
  }

  /** The daemon's history takes the place of ours; what came in since then is put behind it. */
  backfill(history) {
    const ours = Array.from({ length: this.length }, (_, i) => this.at(i));
    this.length = 0;
    for (const point of [...history, ...ours]) this.push(point);
  }

  /** Index of the first point at or after `seconds`. */
  from(seconds) {
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.t[middle] < seconds) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #makeRoom() {
    const drop = this.length < LIMIT ? 0 : LIMIT >> 2;
    for (const name of ["t", "score", "smoothed", "speech", "decision"]) {
      const column = this[name];
      if (drop) column.copyWithin(0, drop);
      else (this[name] = new column.constructor(Math.min(LIMIT, this.length * 2))).set(column);
    }
    this.length -= drop;
  }
}

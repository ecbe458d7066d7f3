// The scores of one leg over time, in columns. NaN is "no score": a hole in the line, never a zero.

export const DECISIONS = ["unknown", "human", "suspicious", "synthetic"];
const FIRST = 256;
const LIMIT = 7200; // one hour at two windows a second; older points stay with the daemon

export class Track {
  length = 0;
  t = new Float64Array(FIRST);
  score = new Float32Array(FIRST);
  smoothed = new Float32Array(FIRST);
  speech = new Float32Array(FIRST);
  decision = new Uint8Array(FIRST);

  get last() {
    return this.length ? this.t[this.length - 1] : 0;
  }

  /** Points must come in order of time; one that does not is old news and is left out. */
  push(point) {
    if (this.length && !(point.end_s > this.last)) return;
    if (this.length === this.t.length) this.#makeRoom();
    const i = this.length++;
    this.t[i] = point.end_s;
    this.score[i] = point.score ?? NaN;
    this.smoothed[i] = point.smoothed ?? NaN;
    this.speech[i] = point.speech_s;
    this.decision[i] = Math.max(0, DECISIONS.indexOf(point.decision ?? "unknown"));
  }

  /** The daemon's history takes the place of ours; what came in since then is put behind it. */
  backfill(history) {
    const old = Object.assign(new Track(), this);
    this.length = 0;
    for (const point of history) this.push(point);
    for (let i = 0; i < old.length; i++) this.push(old.at(i));
  }

  /** @returns {Point} */
  at(i) {
    const [score, smoothed] = [this.score[i], this.smoothed[i]].map((v) => (Number.isNaN(v) ? null : v));
    return { end_s: this.t[i], score, smoothed, speech_s: this.speech[i], decision: DECISIONS[this.decision[i]] };
  }

  /** @returns {number} index of the first point at or after `seconds` */
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
    if (this.length < LIMIT) {
      for (const name of ["t", "score", "smoothed", "speech", "decision"]) {
        const column = this[name];
        const wider = new column.constructor(Math.min(LIMIT, column.length * 2));
        wider.set(column);
        this[name] = wider;
      }
      return;
    }
    const drop = LIMIT >> 2;
    for (const column of [this.t, this.score, this.smoothed, this.speech, this.decision]) column.copyWithin(0, drop);
    this.length -= drop;
  }
}

// A timeline of one leg on a canvas: the score of each window, the smoothed score, thresholds, a lane of decisions.
//
//   100% ┤- - - - - - - - - - - - - raise
//        │        ╭──────╮    ╭─●
//    50% ┤- - - -╱- - - - ╲  ╱- - - clear      holes: no speech
//        │  ────╯          ╰╯
//     0% ┤[ human  ][ synthetic     ]          the lane
//        0:00      0:10       0:20

import { clock, percent } from "./dom.js";
import { redraw } from "./frame.js";
import { colour, onTheme } from "./theme.js";
import { DECISIONS } from "./track.js";

const LEFT = 36;
const RIGHT = 10;
const TOP = 8;
const LANE = 16;
const AXIS = 18;
const STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const SHORTEST_S = 30;
let palette = null;
const charts = new Set();

onTheme(() => {
  palette = null;
  for (const chart of charts) redraw(chart.draw);
});

function colours() {
  const names = ["ink", "muted", "line", "surface", "accent", ...DECISIONS];
  palette ??= { ...Object.fromEntries(names.map((name) => [name, colour(name)])), font: getComputedStyle(document.body).fontFamily };
  return palette;
}

export class Chart {
  #pointer = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => import("./track.js").Track} track
   * @param {() => {raiseAt: number, clearAt: number} | null} limits
   * @param {{spanS?: number, lane?: boolean}} options the last `spanS` seconds, or all of it; whether decisions are known
   */
  constructor(canvas, track, limits, { spanS = Infinity, lane = true } = {}) {
    this.context = canvas.getContext("2d");
    this.canvas = canvas;
    this.track = track;
    this.limits = limits;
    this.spanS = spanS;
    this.lane = lane;
    this.visible = true;
    this.resized = new ResizeObserver(() => redraw(this.draw));
    this.seen = new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      redraw(this.draw);
    });
    this.resized.observe(canvas);
    this.seen.observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.#point(null));
    charts.add(this);
  }

  update() {
    redraw(this.draw);
  }

  close() {
    this.resized.disconnect();
    this.seen.disconnect();
    charts.delete(this);
  }

  #point(x) {
    this.#pointer = x;
    redraw(this.draw);
  }

  draw = () => {
    const { canvas, context: g } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!this.visible || !width || !height) return;
    const ratio = window.devicePixelRatio;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = `11px ${colours().font}`;
    const view = this.#view(width, height);
    this.#grid(view);
    this.#limits(view);
    if (this.lane) this.#lane(view);
    this.#windows(view);
    this.#curve(view);
    this.#readout(view);
  };

  #view(width, height) {
    const track = this.track();
    const end = Math.max(track.last, SHORTEST_S);
    const start = this.spanS === Infinity ? 0 : Math.max(0, end - this.spanS);
    const bottom = height - AXIS - (this.lane ? LANE + 4 : 0);
    const scale = (width - LEFT - RIGHT) / (end - start);
    const first = Math.max(0, track.from(start) - 1);
    // Thinned histories are far apart by nature: a hole is what is far apart compared with its neighbours.
    const shown = track.length - first;
    const hole = shown > 1 ? Math.max(2.1, (4 * (track.last - track.t[first])) / (shown - 1)) : Infinity;
    return {
      track, start, end, first, hole, width, bottom,
      x: (s) => LEFT + (s - start) * scale,
      y: (p) => bottom - p * (bottom - TOP),
    };
  }

  #grid({ x, y, start, end, bottom, width }) {
    const { context: g } = this;
    const c = colours();
    g.strokeStyle = c.line;
    g.fillStyle = c.muted;
    g.lineWidth = 1;
    g.textBaseline = "middle";
    g.textAlign = "right";
    for (const p of [0, 0.5, 1]) {
      line(g, LEFT, y(p), width - RIGHT, y(p));
      g.fillText(percent(p), LEFT - 6, y(p));
    }
    const room = (width - LEFT - RIGHT) / 64;
    const step = STEPS.find((s) => (end - start) / s <= room) ?? STEPS[STEPS.length - 1];
    g.textAlign = "center";
    const foot = bottom + (this.lane ? LANE + 4 : 0) + AXIS / 2 + 3;
    for (let s = Math.ceil(start / step) * step; s <= end; s += step) {
      if (x(s) < width - RIGHT - 8) g.fillText(clock(s), Math.max(x(s), LEFT + 8), foot);
    }
  }

  #limits({ x, y, start, end }) {
    const limits = this.limits();
    if (!limits) return;
    const { context: g } = this;
    const c = colours();
    g.globalAlpha = 0.07;
    g.fillStyle = c.synthetic;
    g.fillRect(x(start), y(1), x(end) - x(start), y(limits.raiseAt) - y(1));
    g.globalAlpha = 1;
    g.setLineDash([3, 4]);
    for (const [p, stroke] of [[limits.raiseAt, c.synthetic], [limits.clearAt, c.human]]) {
      g.strokeStyle = stroke;
      line(g, x(start), y(p), x(end), y(p));
    }
    g.setLineDash([]);
  }

  /** Decisions as words in bands: colour is never alone. */
  #lane({ track, first, x, start, bottom }) {
    const { context: g } = this;
    const c = colours();
    g.textAlign = "left";
    for (let i = first; i < track.length; ) {
      const decision = DECISIONS[track.decision[i]];
      const from = i;
      while (i < track.length && track.decision[i] === track.decision[from]) i++;
      const left = x(Math.max(start, from ? track.t[from - 1] : Math.max(0, track.t[0] - 2)));
      const right = x(track.t[i - 1]);
      g.globalAlpha = 0.18;
      g.fillStyle = c[decision];
      g.beginPath();
      g.roundRect(left, bottom + 4, Math.max(1, right - left - 1), LANE, 3);
      g.fill();
      g.globalAlpha = 1;
      const word = decision === "unknown" ? "listening" : decision;
      if (g.measureText(word).width + 10 < right - left) g.fillText(word, left + 5, bottom + 5 + LANE / 2);
    }
  }

  #windows({ track, first, x, y, start }) {
    const { context: g } = this;
    g.fillStyle = colours().muted;
    for (let i = first; i < track.length; i++) {
      if (track.t[i] >= start && !Number.isNaN(track.score[i])) g.fillRect(x(track.t[i]) - 1.25, y(track.score[i]) - 1.25, 2.5, 2.5);
    }
  }

  /** The line that decides: smoothed where there is a rule, else the windows themselves; in the decision's colour. */
  #curve({ track, first, x, y, start, hole, bottom }) {
    const { context: g } = this;
    const c = colours();
    const values = this.lane ? track.smoothed : track.score;
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, this.canvas.clientWidth, bottom + 1);
    g.clip();
    g.lineWidth = 2;
    g.lineJoin = "round";
    for (const run of runs(track, first, hole, values, this.lane)) {
      const points = run.map((i) => [x(track.t[i]), y(values[i])]);
      const end = run[run.length - 1];
      stretch(g, this.lane ? c[DECISIONS[track.decision[end]]] : c.accent, points, bottom, end === track.length - 1);
    }
    g.restore();
  }

  #readout({ track, x, y, start, end, width, bottom }) {
    if (this.#pointer === null || !track.length) return;
    const { context: g } = this;
    const c = colours();
    const at = start + ((this.#pointer - LEFT) / (width - LEFT - RIGHT)) * (end - start);
    const after = Math.min(track.from(at), track.length - 1);
    const i = after > 0 && at - track.t[after - 1] < track.t[after] - at ? after - 1 : after;
    const point = track.at(i);
    g.strokeStyle = c.muted;
    line(g, x(point.end_s), y(1), x(point.end_s), bottom);
    const said = point.score === null ? "no score" : `window ${percent(point.score)}`;
    const text = [clock(point.end_s), said, ...(this.lane && Number.isFinite(point.smoothed) ? [`smoothed ${percent(point.smoothed)}`] : [])].join(" · ");
    const wide = g.measureText(text).width + 14;
    const left = Math.min(Math.max(x(point.end_s) + 8, LEFT), width - RIGHT - wide);
    g.fillStyle = c.ink;
    g.beginPath();
    g.roundRect(left, TOP, wide, 20, 4);
    g.fill();
    g.fillStyle = c.surface;
    g.textAlign = "left";
    g.fillText(text, left + 7, TOP + 10.5);
  }
}
function line(g, x1, y1, x2, y2) {
  g.beginPath();
  g.moveTo(x1, y1);
  g.lineTo(x2, y2);
  g.stroke();
}

/** Indices of the points that one line joins: up to a hole, or to a change of decision, which both lines share. */
function* runs(track, first, hole, values, lane) {
  let run = [];
  for (let i = first; i < track.length; i++) {
    const before = run[run.length - 1];
    if (run.length && (Number.isNaN(track.score[i]) || track.t[i] - track.t[before] > hole)) {
      yield run;
      run = [];
    }
    if (Number.isNaN(track.score[i]) || Number.isNaN(values[i])) continue;
    if (run.length > 1 && lane && track.decision[i] !== track.decision[before]) {
      yield run;
      run = [before];
    }
    run.push(i);
  }
  if (run.length) yield run;
}

/** One run of the curve, the tint below it and, at the end of the track, a dot. */
function stretch(g, stroke, points, floor, last) {
  const [left, right] = [points[0], points[points.length - 1]];
  g.fillStyle = g.strokeStyle = stroke;
  g.beginPath();
  for (const point of points) g.lineTo(...point);
  g.stroke();
  g.lineTo(right[0], floor);
  g.lineTo(left[0], floor);
  g.globalAlpha = 0.1;
  g.fill();
  g.globalAlpha = 1;
  if (!last && points.length > 1) return;
  g.beginPath();
  g.arc(...right, last ? 3.5 : 1.5, 0, 2 * Math.PI);
  g.fill();
}

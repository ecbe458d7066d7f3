// A timeline of one leg on a canvas: the score of each window, the smoothed score, a lane of decisions, and from
// where on a score is evidence for synthetic (raise_at) or for human (clear_at).
//
//   100% ┤- - - - - - - - - - - - - raise_at
//        │        ╭──────╮    ╭─●
//    50% ┤- - - -╱- - - - ╲  ╱- - - clear_at      holes: no speech
//        │  ────╯          ╰╯
//     0% ┤[ human  ][ synthetic     ]             the lane
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
const SHORTEST_S = 30;
const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const charts = new Set();
let palette = null;

onTheme(() => {
  palette = null;
  for (const chart of charts) chart.update();
});

function colours() {
  const tokens = ["ink", "muted", "line", "surface", "accent", ...DECISIONS];
  return (palette ??= Object.fromEntries(tokens.map((token) => [token, colour(token)])));
}

export class Chart {
  #pointer = null;
  #visible = true;

  /**
   * `limits()` has raise_at and clear_at; `spanS`: the last seconds only; `lane`: whether there are decisions;
   * `marks`: stretches of time to tint, [start, end] in seconds.
   */
  constructor(canvas, track, limits, { spanS = Infinity, lane = true, marks = [] } = {}) {
    Object.assign(this, { canvas, track, limits, spanS, lane, marks, context: canvas.getContext("2d") });
    this.resized = new ResizeObserver(() => this.update());
    this.resized.observe(canvas);
    this.seen = new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1).isIntersecting;
      this.update();
    });
    this.seen.observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.#point(null));
    charts.add(this);
  }

  update() {
    redraw(this.#draw);
  }

  close() {
    this.resized.disconnect();
    this.seen.disconnect();
    charts.delete(this);
  }

  #point(x) {
    this.#pointer = x;
    this.update();
  }

  #draw = () => {
    const { canvas, context: g } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!this.#visible || !width || !height) return;
    const ratio = devicePixelRatio;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = `11px ${getComputedStyle(canvas).fontFamily}`;
    g.textBaseline = "middle";
    const view = this.#view(width, height);
    this.#drawGrid(view);
    this.#drawLimits(view);
    this.#drawMarks(view);
    if (this.lane) this.#drawLane(view);
    this.#drawScores(view);
    this.#drawReadout(view);
  };

  /** What is seen, and where: the scales, the first point, and how far apart two points may be and still be joined. */
  #view(width, height) {
    const { track } = this;
    const end = Math.max(track.last, SHORTEST_S);
    const start = Math.max(0, end - this.spanS);
    const right = width - RIGHT;
    const bottom = height - AXIS - (this.lane ? LANE + 4 : 0);
    const first = Math.max(0, track.from(start) - 1);
    // A thinned history is far apart by nature: a hole is what is far apart compared with the rest.
    const apart = (track.last - track.t[first]) / (track.length - first - 1);
    const x = (s) => LEFT + ((s - start) / (end - start)) * (right - LEFT);
    const y = (p) => bottom - p * (bottom - TOP);
    return { track, start, end, first, hole: Math.max(2.1, 4 * apart), right, bottom, height, x, y };
  }

  #drawGrid({ x, y, start, end, right, height }) {
    const { context: g } = this;
    g.fillStyle = colours().muted;
    g.textAlign = "right";
    for (const p of [0, 0.5, 1]) {
      line(g, colours().line, LEFT, y(p), right, y(p));
      g.fillText(percent(p), LEFT - 6, y(p));
    }
    const step = STEPS_S.find((s) => (end - start) / s <= (right - LEFT) / 64) ?? STEPS_S.at(-1);
    g.textAlign = "center";
    for (let s = Math.ceil(start / step) * step; x(s) < right - 8; s += step) {
      g.fillText(clock(s), Math.max(x(s), LEFT + 8), height - AXIS / 2 + 2);
    }
  }

  #drawLimits({ y, right }) {
    const limits = this.limits();
    if (!limits) return;
    const { context: g } = this;
    g.globalAlpha = 0.07;
    g.fillStyle = colours().synthetic;
    g.fillRect(LEFT, y(1), right - LEFT, y(limits.raise_at) - y(1));
    g.globalAlpha = 1;
    g.setLineDash([3, 4]);
    line(g, colours().synthetic, LEFT, y(limits.raise_at), right, y(limits.raise_at));
    line(g, colours().human, LEFT, y(limits.clear_at), right, y(limits.clear_at));
    g.setLineDash([]);
  }

  #drawMarks({ x, y, start, right }) {
    const { context: g } = this;
    g.globalAlpha = 0.12;
    g.fillStyle = colours().synthetic;
    for (const [from, to] of this.marks) {
      const left = x(Math.max(start, from));
      g.fillRect(left, y(1), Math.max(0, Math.min(x(to), right) - left), y(0) - y(1));
    }
    g.globalAlpha = 1;
  }

  /** Decisions as words in bands: colour is never alone. */
  #drawLane({ track, first, x, start, bottom }) {
    const { context: g } = this;
    g.textAlign = "left";
    for (let i = first; i < track.length; ) {
      const from = i;
      while (i < track.length && track.decision[i] === track.decision[from]) i++;
      const decision = DECISIONS[track.decision[from]];
      const left = x(Math.max(start, track.t[from - 1] ?? track.t[0] - 2));
      const wide = x(track.t[i - 1]) - left;
      const word = decision === "unknown" ? "listening" : decision;
      g.globalAlpha = 0.18;
      box(g, colours()[decision], left, bottom + 4, Math.max(1, wide - 1), LANE);
      g.globalAlpha = 1;
      if (g.measureText(word).width + 10 < wide) g.fillText(word, left + 5, bottom + 5 + LANE / 2);
    }
  }

  /** Dots are windows; the line is the smoothed score where there are decisions, else the windows themselves. */
  #drawScores({ track, first, x, y, start, hole, bottom }) {
    const { context: g, lane } = this;
    const values = lane ? track.smoothed : track.score;
    g.save();
    g.beginPath();
    g.rect(LEFT, 0, this.canvas.clientWidth, bottom + 1);
    g.clip();
    g.fillStyle = colours().muted;
    for (let i = track.from(start); i < track.length; i++) {
      g.fillRect(x(track.t[i]) - 1.25, y(track.score[i]) - 1.25, 2.5, 2.5);
    }
    for (const run of runs(track, first, hole, values, lane)) {
      const end = run.at(-1);
      const stroke = lane ? colours()[DECISIONS[track.decision[end]]] : colours().accent;
      const points = run.map((i) => [x(track.t[i]), y(values[i])]);
      stretch(g, stroke, points, bottom, end === track.length - 1);
    }
    g.restore();
  }

  #drawReadout({ track, x, y, start, end, right, bottom }) {
    if (this.#pointer === null || !track.length) return;
    const { context: g } = this;
    const at = start + ((this.#pointer - LEFT) / (right - LEFT)) * (end - start);
    const { end_s, score, smoothed } = track.at(Math.min(track.from(at), track.length - 1));
    const words = [clock(end_s), score === null ? "no score" : `window ${percent(score)}`];
    if (this.lane && smoothed !== null) words.push(`smoothed ${percent(smoothed)}`);
    const wide = g.measureText(words.join(" · ")).width + 14;
    const left = Math.min(Math.max(x(end_s) + 8, LEFT), right - wide);
    line(g, colours().muted, x(end_s), y(1), x(end_s), bottom);
    box(g, colours().ink, left, TOP, wide, 20);
    g.fillStyle = colours().surface;
    g.textAlign = "left";
    g.fillText(words.join(" · "), left + 7, TOP + 10.5);
  }
}

/** Indices of points that one line joins: up to a hole, or to a change of decision, which both lines share. */
function* runs(track, first, hole, values, lane) {
  let run = [];
  for (let i = first; i < track.length; i++) {
    const silent = Number.isNaN(track.score[i]) || Number.isNaN(values[i]);
    const before = run.at(-1);
    if (run.length && (silent || track.t[i] - track.t[before] > hole)) {
      yield run;
      run = [];
    } else if (run.length > 1 && lane && track.decision[i] !== track.decision[before]) {
      yield run;
      run = [before];
    }
    if (!silent) run.push(i);
  }
  if (run.length) yield run;
}

/** One run of the curve, the tint below it, and a dot where it is the newest or stands alone. */
function stretch(g, stroke, points, floor, newest) {
  const end = points.at(-1);
  g.fillStyle = g.strokeStyle = stroke;
  g.lineWidth = 2;
  g.lineJoin = "round";
  g.beginPath();
  for (const point of points) g.lineTo(...point);
  g.stroke();
  g.lineTo(end[0], floor);
  g.lineTo(points[0][0], floor);
  g.globalAlpha = 0.1;
  g.fill();
  g.globalAlpha = 1;
  if (!newest && points.length > 1) return;
  g.beginPath();
  g.arc(...end, newest ? 3.5 : 1.5, 0, 2 * Math.PI);
  g.fill();
}

function line(g, stroke, x1, y1, x2, y2) {
  g.strokeStyle = stroke;
  g.lineWidth = 1;
  g.beginPath();
  g.moveTo(x1, y1);
  g.lineTo(x2, y2);
  g.stroke();
}

function box(g, fill, x, y, width, height) {
  g.fillStyle = fill;
  g.beginPath();
  g.roundRect(x, y, width, height, 4);
  g.fill();
}

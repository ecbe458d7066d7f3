// One leg of a call: number, meter, decision and timeline.

import { Chart } from "../chart.js";
import { clock, number, percent, stamp, throttle } from "../dom.js";
import { redraw } from "../frame.js";
import { decisionWord, showBadge, speakMeter } from "../words.js";
import { showTable } from "./table.js";

const LIVE_SPAN_S = 120;

export class LegView {
  /**
   * @param {import("../store.js").Store} store
   * @param {import("../store.js").Call} call
   * @param {import("../store.js").Leg} leg
   */
  constructor(store, call, leg) {
    const { root, refs } = stamp("t-leg");
    this.root = root;
    this.refs = refs;
    this.store = store;
    this.leg = leg;
    this.over = call.endedAt !== null;
    this.chart = new Chart(refs.canvas, () => this.leg.track, () => store.model, { spanS: this.over ? Infinity : LIVE_SPAN_S });
    this.speak = throttle(() => this.#speak(), 1000);
    refs.name.textContent = leg.name;
    refs.table.addEventListener("click", () => showTable(`${call.id}, ${leg.name}`, this.leg.track));
    this.#draw();
    this.#speak();
  }

  update() {
    redraw(this.#draw);
    this.chart.update();
    this.speak();
  }

  close() {
    this.chart.close();
  }

  /** What the number says: where the leg stands now, or for a call that is over how far it went. */
  get #shown() {
    return this.over ? { p: this.leg.peak, decision: this.leg.worst } : { p: this.leg.smoothed ?? this.leg.score, decision: this.leg.decision };
  }

  #draw = () => {
    const { leg, refs, over } = this;
    const { p, decision } = this.#shown;
    const limits = this.store.model;
    this.root.dataset.decision = decision;
    showBadge(refs.badge, decision, over && decision === "unknown" ? "No decision" : decisionWord(decision, leg.skipped));
    refs.value.textContent = percent(p);
    refs.value.classList.toggle("none", p === null);
    refs.fill.style.transform = `scaleX(${p ?? 0})`;
    refs.tick.hidden = over || leg.score === null;
    refs.tick.style.left = `${(leg.score ?? 0) * 100}%`;
    for (const [tick, at] of [[refs.clear, limits?.clearAt], [refs.raise, limits?.raiseAt]]) tick.style.left = `${(at ?? 0) * 100}%`;
    const facts = [
      over ? "highest score of a window" : leg.peak !== null && `peak ${percent(leg.peak)}`,
      `${number(leg.speechS)} s speech`,
      !over && (leg.level === null ? "silent" : `${number(leg.level)} dBFS`),
      !over && leg.latencyMs !== null && `${number(leg.latencyMs)} ms`,
    ];
    refs.facts.textContent = facts.filter(Boolean).join(" · ");
  };

  /** For who listens rather than looks: once a second at most. */
  #speak() {
    const { leg, refs } = this;
    const { p, decision } = this.#shown;
    const word = decisionWord(decision, leg.skipped);
    speakMeter(refs.meter, `Probability that ${leg.name} is synthetic`, p, p === null ? word : `${percent(p)}, ${word}`);
    const last = leg.track.length ? `, ${clock(leg.track.last)} heard` : "";
    const score = leg.score === null ? "no score in the last window" : `last score ${percent(leg.score)}`;
    refs.canvas.setAttribute("aria-label", `Timeline of ${leg.name}: ${word}${this.#since()}, ${score}${last}`);
  }

  #since() {
    const { track } = this.leg;
    let i = track.length - 1;
    while (i > 0 && track.decision[i - 1] === track.decision[i]) i--;
    return i > 0 ? ` since ${clock(track.t[i])}` : "";
  }
}

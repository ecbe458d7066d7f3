// One leg of a call: number, meter, decision and timeline.

import { Chart } from "../chart.js";
import { clock, el, number, percent, stamp, throttle } from "../dom.js";
import { redraw } from "../frame.js";
import { decisionWord, fillMeter, finalWord, qualityWords, showBadge, speakMeter } from "../words.js";
import { showTable } from "./table.js";

const LIVE_SPAN_S = 120;

export class LegView {
  constructor(store, call, leg) {
    const { root, refs } = stamp("t-leg");
    const over = Boolean(call.ended_at);
    Object.assign(this, { root, refs, store, leg, over });
    this.chart = new Chart(refs.canvas, leg.track, () => store.model, { spanS: over ? Infinity : LIVE_SPAN_S });
    this.speak = throttle(this.#speak, 1000);
    refs.name.textContent = leg.leg;
    refs.table.addEventListener("click", () => showTable(`${call.call_id}, ${leg.leg}`, leg.track));
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

  /** Where the leg stands now; for a call that is over, how far it went. */
  get #shown() {
    const { leg, over } = this;
    if (over) return { p: leg.peak_score, decision: leg.worst_decision, word: finalWord(leg.worst_decision) };
    return { p: leg.smoothed ?? leg.last_score, decision: leg.decision, word: decisionWord(leg.decision, leg.skipped) };
  }

  #draw = () => {
    const { refs, leg, over } = this;
    const { p, decision, word } = this.#shown;
    this.root.dataset.tone = decision;
    showBadge(refs.badge, decision, word);
    refs.value.textContent = percent(p);
    fillMeter(refs.fill, p ?? 0);
    refs.last.hidden = over || leg.last_score === null;
    refs.last.style.left = percent(leg.last_score ?? 0);
    refs.clear.style.left = percent(this.store.model.clear_at);
    refs.raise.style.left = percent(this.store.model.raise_at);
    const facts = [over ? "highest window" : leg.peak_score !== null && `peak ${percent(leg.peak_score)}`];
    facts.push(`${number(leg.speech_s)} s of speech`);
    if (!over) facts.push(leg.level_dbfs === null ? "silent" : `${number(leg.level_dbfs)} dBFS`);
    if (!over && leg.latency_ms !== null) facts.push(`scored in ${number(leg.latency_ms)} ms`);
    const chips = qualityWords(leg.quality).map((word) => el("span", { className: "count" }, word));
    if (chips.length) facts.push("less sure, as the sound is");
    refs.facts.replaceChildren(...facts.filter(Boolean).map((fact) => el("span", {}, fact)), ...chips);
  };

  /** For who listens rather than looks: once a second at most. */
  #speak = () => {
    const { refs, leg } = this;
    const { p, word } = this.#shown;
    const { track } = leg;
    let since = track.length - 1;
    while (since > 0 && track.decision[since - 1] === track.decision[since]) since--;
    const from = since > 0 ? ` since ${clock(track.t[since])}` : "";
    const last = leg.last_score === null ? "no score in the last window" : `last score ${percent(leg.last_score)}`;
    speakMeter(refs.meter, `Probability that ${leg.leg} is synthetic`, p, p === null ? word : `${percent(p)}, ${word}`);
    refs.canvas.setAttribute("aria-label", `Timeline of ${leg.leg}: ${word}${from}, ${last}`);
  };
}

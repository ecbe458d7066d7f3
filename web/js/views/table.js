// A timeline as a table, for who cannot or would rather not read the drawing. It shows the moment it was opened.

import { $, clock, el, number, percent } from "../dom.js";
import { decisionWord } from "../words.js";

const MOST_ROWS = 600;

/** `decided`: whether there are decisions to show. */
export function showTable(title, track, decided = true) {
  const rows = [];
  for (let i = track.length - 1; i >= 0 && rows.length < MOST_ROWS; i--) {
    const { end_s, score, smoothed, speech_s, decision } = track.at(i);
    const tenths = Math.round(end_s * 10);
    const until = el("th", { scope: "row" }, `${clock(tenths / 10)}.${tenths % 10}`);
    const cells = [score === null ? "no score" : percent(score), percent(smoothed), `${number(speech_s, 1)} s`];
    cells.push(decided ? decisionWord(decision) : "–");
    rows.push(el("tr", {}, until, ...cells.map((cell) => el("td", {}, cell))));
  }
  $("table-title").textContent = `Timeline of ${title}`;
  $("table-body").replaceChildren(...rows);
  $("table").showModal();
}

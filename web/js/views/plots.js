// The plots of the bundle. Painted on canvases, because an <img> could not carry the token.

import { get, getModel } from "../api.js";
import { $, el } from "../dom.js";

const PLOTS = {
  training_history: "Training history",
  roc: "ROC",
  confusion_matrix: "Confusion matrix",
  score_distribution: "Scores by class",
  precision_recall: "Precision and recall",
  det: "Misses against false alarms",
  calibration: "Calibration",
  generators: "By generator",
  false_alarms: "False alarms by source",
  matrix: "Generators against sources",
  durations: "Error against seconds of speech",
};

async function plot([name, title]) {
  const response = await get(`api/graph/${name}`);
  const image = await createImageBitmap(await response.blob());
  const canvas = el("canvas", { role: "img", ariaLabel: title, width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return el("figure", {}, canvas, el("figcaption", {}, title));
}

async function figures() {
  const { plots } = await getModel();
  const found = await Promise.all(Object.entries(PLOTS).filter(([name]) => plots.includes(name)).map(plot));
  return found.length ? found : [el("p", { className: "hint" }, "This bundle has no plots.")];
}

async function load() {
  $("gallery").replaceChildren(el("p", { className: "hint" }, "Loading…"));
  try {
    $("gallery").replaceChildren(...(await figures()));
  } catch (error) {
    const words = el("p", { className: "wrong", role: "alert" }, `The plots did not load: ${error.message}`);
    const again = el("button", { type: "button", className: "second" }, "Try again");
    again.addEventListener("click", load);
    $("gallery").replaceChildren(words, again);
  }
}

/** Loaded when somebody opens them. */
export function mountPlots() {
  $("plots").addEventListener("toggle", load, { once: true });
}

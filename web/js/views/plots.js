// The plots of the bundle. Painted on canvases, because an <img> could not carry the token.

import { get } from "../api.js";
import { $, el } from "../dom.js";
const PLOTS = {
  training_history: "Training history",
  roc: "ROC",
  confusion_matrix: "Confusion matrix",
  score_distribution: "Scores by class",
  precision_recall: "Precision and recall",
};

async function plot(name) {
  const image = await createImageBitmap(await (await get(`api/graph/${name}`)).blob());
  const canvas = el("canvas", { role: "img", ariaLabel: PLOTS[name], width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return el("figure", {}, canvas, el("figcaption", {}, PLOTS[name]));
}

/** Loaded when somebody opens them; what a bundle does not have is left out. */
export function mountPlots() {
  $("plots").addEventListener(
    "toggle",
    async () => {
      const drawn = await Promise.allSettled(Object.keys(PLOTS).map(plot));
      const figures = drawn.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      $("gallery").replaceChildren(...(figures.length ? figures : [el("p", { className: "hint" }, "This bundle has no plots.")]));
    },
    { once: true },
  );
}

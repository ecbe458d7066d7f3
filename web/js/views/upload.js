// One recording to the daemon and its answer: gauge, prediction, timeline per leg.

import { address, authorisation, get, refusal } from "../api.js";
import { Chart } from "../chart.js";
import { $, clock, el, number, pairs, percent, stamp } from "../dom.js";
import { Track } from "../track.js";
import { decisionWord, showBadge, speakMeter } from "../words.js";
import { showTable } from "./table.js";

/** @type {Record<string, [string, string]>} state and word of the badge */
const PREDICTIONS = { fake: ["synthetic", "Fake"], real: ["human", "Real"], unknown: ["unknown", "Unknown: no speech"] };

/** @param {number} p @returns {[string, string]} the predecessor's colours, and their words */
export function zoneOf(p) {
  if (p < 0.3) return ["low", "low"];
  return p < 0.7 ? ["middle", "unclear"] : ["high", "high"];
}

/**
 * XMLHttpRequest, because fetch does not tell how much has been sent.
 * @param {File} file @param {(sent: number) => void} onProgress 0 to 1 @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
function send(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file);
    request.open("POST", address("api/predict/upload"));
    for (const [name, value] of Object.entries(authorisation())) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    request.onload = () => (request.status === 200 ? resolve(JSON.parse(request.responseText)) : reject(refusal(request.status, request.responseText)));
    request.onerror = () => reject(refusal(0, ""));
    request.onabort = () => reject(new Error("Cancelled."));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** @param {import("../store.js").Store} store */
export function mountUpload(store) {
  let charts = [];
  let sending = null;

  const show = (part) => {
    for (const id of ["drop", "working", "result"]) $(id).hidden = id !== part;
  };

  const reset = () => {
    for (const chart of charts) chart.close();
    charts = [];
    $("result").replaceChildren();
    $("file").value = "";
    show("drop");
  };

  const present = (name, answer) => {
    const { fragment, refs } = stamp("t-result");
    fill(refs, name, answer);
    const tracks = tracksOf(answer);
    for (const [leg, track] of tracks) {
      const { canvas, figure } = timeline(leg, track);
      refs.timelines.append(figure);
      charts.push(new Chart(canvas, () => track, () => store.model, { lane: false }));
    }
    refs.again.addEventListener("click", () => {
      reset();
      $("upload-status").textContent = "";
      $("file").focus();
    });
    $("result").replaceChildren(fragment);
    show("result");
    refs.again.focus({ preventScroll: true });
  };

  const analyse = async (files) => {
    if (!files?.length || sending) return;
    const file = files[0];
    reset();
    sending = new AbortController();
    show("working");
    say(files.length > 1 ? "One recording at a time: taking the first." : "");
    try {
      await get("api/model/status").catch((error) => error.response ?? Promise.reject(error)); // asks for the token
      const onProgress = (sent) => ($("working-text").textContent = sent < 1 ? `Sending ${file.name}: ${percent(sent)}` : `Scoring ${file.name}…`);
      onProgress(0);
      const answer = await send(file, onProgress, sending.signal);
      present(file.name, answer);
      say(`Done: ${(PREDICTIONS[answer.prediction] ?? PREDICTIONS.unknown)[1]}.`);
    } catch (error) {
      show("drop");
      say(error.message, true);
    } finally {
      sending = null;
    }
  };

  $("file").addEventListener("change", () => analyse($("file").files));
  $("cancel").addEventListener("click", () => sending?.abort());
  $("empty-upload").addEventListener("click", () => $("file").click());
  mountDrop(analyse);
}

function say(words, wrong = false) {
  $("upload-status").textContent = words;
  $("upload-status").classList.toggle("wrong", wrong);
}

/** The whole page takes a drop: a file that misses the box by an inch must not replace the page. */
function mountDrop(take) {
  const mark = (over) => $("drop").classList.toggle("over", over);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    take(event.dataTransfer?.files);
  });
}

function fill(refs, name, answer) {
  const p = answer.fakeness_score;
  const [state, word] = PREDICTIONS[answer.prediction] ?? PREDICTIONS.unknown;
  const [zone, zoneWord] = p === null ? ["none", "no score"] : zoneOf(p);
  refs.name.textContent = name;
  showBadge(refs.badge, state, word);
  refs.gauge.dataset.zone = zone;
  refs.arc.style.strokeDasharray = `${(p ?? 0) * 100} 200`;
  refs.value.textContent = percent(p);
  refs.zone.textContent = zoneWord;
  speakMeter(refs.gauge, "Probability that the voice is synthetic", p, p === null ? "no speech, no score" : `${percent(p)}, ${zoneWord}`);
  refs.facts.append(
    ...pairs([
      ["Prediction", answer.prediction],
      ["Confidence", answer.confidence === null ? null : percent(answer.confidence)],
      ["Decision", answer.decision && (answer.decision === "unknown" ? "none" : decisionWord(answer.decision))],
      ["Length", Number.isFinite(answer.duration_s) ? clock(answer.duration_s) : null],
      ["Speech", Number.isFinite(answer.speech_s) ? `${number(answer.speech_s, 1)} s` : null],
    ]),
  );
}

/** @returns {Map<string, Track>} */
function tracksOf(answer) {
  const tracks = new Map();
  for (const window of answer.windows ?? []) {
    if (!tracks.has(window.leg)) tracks.set(window.leg, new Track());
    tracks.get(window.leg).push(window);
  }
  return tracks;
}

function timeline(leg, track) {
  const canvas = el("canvas", { role: "img" });
  const scores = track.score.slice(0, track.length).filter((score) => !Number.isNaN(score));
  const highest = scores.length ? `highest ${percent(Math.max(...scores))}` : "no window with speech";
  canvas.setAttribute("aria-label", `Timeline of ${leg}: ${track.length} windows, ${highest}`);
  const button = el("button", { type: "button", className: "quiet" }, "Show as table");
  button.addEventListener("click", () => showTable(leg, track, false));
  return { canvas, figure: el("figure", { className: "plot" }, el("figcaption", {}, leg), canvas, button) };
}

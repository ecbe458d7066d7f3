// One recording to the daemon and its answer: gauge, prediction, timeline per leg.

import { address, authorisation, getModel, refusal } from "../api.js";
import { Chart } from "../chart.js";
import { $, clock, el, number, pairs, percent, stamp } from "../dom.js";
import { Track } from "../track.js";
import { finalWord, qualityWords, showBadge, speakMeter } from "../words.js";
import { showTable } from "./table.js";

const PREDICTIONS = { fake: ["synthetic", "Fake"], real: ["human", "Real"], unknown: ["unknown", "No speech"] };

/** The predecessor's colours, with words to them. */
function zoneOf(p) {
  if (p === null) return ["unknown", "no score"];
  if (p < 0.3) return ["human", "low"];
  return p < 0.7 ? ["suspicious", "unclear"] : ["synthetic", "high"];
}

/** XMLHttpRequest, because fetch does not tell how much has been sent. */
function send(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file);
    request.open("POST", address("api/predict/upload"));
    for (const header of Object.entries(authorisation())) request.setRequestHeader(...header);
    request.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText));
    };
    request.onerror = () => reject(refusal(0, ""));
    request.onabort = () => reject(new Error("Cancelled."));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function show(part) {
  for (const id of ["drop", "working", "result"]) $(id).hidden = id !== part;
}

function say(words, wrong = false) {
  $("upload-status").textContent = words;
  $("upload-status").classList.toggle("wrong", wrong);
}

export function mountUpload(store) {
  let charts = [];
  let sending = null;

  const reset = () => {
    for (const chart of charts) chart.close();
    charts = [];
    $("result").replaceChildren();
    $("file").value = "";
    say("");
    show("drop");
  };

  const present = (name, answer) => {
    const { fragment, refs } = stamp("t-result");
    fill(refs, name, answer);
    for (const [leg, track] of tracksOf(answer)) {
      const { figure, canvas } = timeline(leg, track);
      refs.timelines.append(figure);
      charts.push(new Chart(canvas, track, () => store.model, { lane: false }));
    }
    refs.again.addEventListener("click", () => {
      reset();
      $("file").focus();
    });
    $("result").replaceChildren(fragment);
    show("result");
    refs.again.focus({ preventScroll: true });
  };

  const analyse = async (files) => {
    if (!files?.length || sending) return;
    const file = files[0];
    const onProgress = (sent) => {
      $("working-text").textContent = sent < 1 ? `Sending ${file.name}: ${percent(sent)}` : `Scoring ${file.name}…`;
    };
    reset();
    sending = new AbortController();
    onProgress(0);
    show("working");
    try {
      await getModel(); // asks for the token where one is needed
      const answer = await send(file, onProgress, sending.signal);
      present(file.name, answer);
      say(files.length > 1 ? "One recording at a time: this is the first." : "");
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

/** The whole page takes a drop: a file that misses the box by an inch must not replace the page. */
function mountDrop(take) {
  const over = (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", event.type === "dragover");
  };
  addEventListener("dragover", over);
  addEventListener("dragleave", over);
  addEventListener("drop", (event) => {
    over(event);
    take(event.dataTransfer.files);
  });
}

function fill(refs, name, answer) {
  const { fakeness_score: p, prediction, confidence, decision, duration_s, speech_s } = answer;
  const [zone, zoneWord] = zoneOf(p);
  refs.name.textContent = name;
  showBadge(refs.badge, ...PREDICTIONS[prediction]);
  refs.gauge.dataset.tone = zone;
  refs.arc.style.strokeDasharray = `${(p ?? 0) * 100} 200`;
  refs.value.textContent = percent(p);
  refs.zone.textContent = zoneWord;
  const spoken = p === null ? zoneWord : `${percent(p)}, ${zoneWord}`;
  speakMeter(refs.gauge, "Probability that the voice is synthetic", p, spoken);
  const facts = [
    ["Prediction", prediction],
    ["Confidence", percent(confidence)],
    ["Decision", decision && finalWord(decision)],
    ["Speech", `${number(speech_s, 1)} s of ${clock(duration_s)}`],
    ["Less sure, as the sound is", qualityWords(answer.quality).join(", ")],
  ];
  refs.facts.append(...pairs(facts));
}

function tracksOf({ windows }) {
  const tracks = new Map();
  for (const window of windows) {
    if (!tracks.has(window.leg)) tracks.set(window.leg, new Track());
    tracks.get(window.leg).push(window);
  }
  return tracks;
}

function timeline(leg, track) {
  const scores = track.score.slice(0, track.length).filter((score) => !Number.isNaN(score));
  const highest = scores.length ? `highest window ${percent(Math.max(...scores))}` : "no window with speech";
  const canvas = el("canvas", { role: "img", ariaLabel: `Timeline of ${leg}: ${highest}` });
  const button = el("button", { type: "button", className: "quiet" }, "Show as table");
  button.addEventListener("click", () => showTable(leg, track, false));
  return { canvas, figure: el("figure", { className: "plot" }, el("figcaption", {}, leg), canvas, button) };
}

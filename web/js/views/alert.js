// Why one alert was raised: #alert-ID opens it, so that a link in a message leads here.

import { getJson } from "../api.js";
import { Chart } from "../chart.js";
import { $, clock, el, number, pairs, percent } from "../dom.js";
import { drawSaliency, saliencyWords } from "../saliency.js";
import { Track } from "../track.js";
import { qualityWords } from "../words.js";

const ADDRESS = /^#alert-([\w-]{1,64})$/;
const AROUND_S = 30;
const VERDICTS = { confirmed_fake: "confirmed fake", false_alarm: "false alarm" };

const seconds = (s) => `${clock(s)}.${Math.floor((s * 10) % 10)}`;

/** The timeline around the decision: the call's own where the daemon still has it, else what the alert carries. */
async function trackOf({ call_id, leg, at_s, explanation }) {
  const detail = await getJson(`api/calls/${encodeURIComponent(call_id)}`).catch(() => null);
  const track = new Track();
  const carried = explanation.timeline.map((point) => ({ ...point, smoothed: null, speech_s: 0, decision: "unknown" }));
  for (const point of detail?.timeline[leg] ?? carried) if (point.end_s <= at_s + AROUND_S) track.push(point);
  return track;
}

function windowsOf({ windows }) {
  const rows = windows.map(({ start_s, end_s, score, weight, quality }) => {
    const cells = [percent(score), percent(weight), qualityWords(quality).join(", ")];
    const span = el("th", { scope: "row" }, `${seconds(start_s)} to ${seconds(end_s)}`);
    return el("tr", {}, span, ...cells.map((cell) => el("td", {}, cell)));
  });
  $("alert-windows").replaceChildren(...rows);
}

export function mountAlert(store) {
  let chart = null;
  let shown = "";

  const say = (words) => ($("alert-note").textContent = words);

  /** Only the latest request counts: another alert may have been opened meanwhile. */
  const isOver = (id) => id !== shown;

  async function showPicture(id, place) {
    $("alert-look").hidden = true;
    say("Hiding one part of the sound after the other…");
    const seen = await getJson(`api/alerts/${id}/saliency?window=${place}`, 60_000).catch((error) => error);
    if (isOver(id)) return;
    say(seen instanceof Error ? `No picture of the sound: ${seen.message}.` : saliencyWords(seen));
    $("alert-picture").hidden = seen instanceof Error;
    if (seen instanceof Error) return;
    drawSaliency($("alert-picture"), seen);
    $("alert-picture").setAttribute("aria-label", saliencyWords(seen));
    const others = seen.windows.map(([start_s], i) => {
      const name = `Window at ${seconds(start_s)}`;
      const button = el("button", { type: "button", className: "quiet", disabled: i === place }, name);
      button.addEventListener("click", () => showPicture(id, i));
      return button;
    });
    $("alert-choice").replaceChildren(...(others.length > 1 ? others : []));
  }

  async function show({ raised, resolved, verdict }) {
    const { explanation: why, model, call_id, leg, at_s, speech_s } = raised;
    const state = resolved ? "over" : "firing";
    const facts = [["State", [state, VERDICTS[verdict]].filter(Boolean).join(", ")], ["Raised", new Date(raised.time).toLocaleString()]];
    if (call_id) facts.push(["Call", `${call_id}, ${leg}`], ["At", seconds(at_s)], ["Speech heard", `${number(speech_s)} s`]);
    facts.push(["Model", why ? `${model}, version ${why.bundle_version}` : model]);
    if (why?.quality.length) facts.push(["Less sure, as the sound is", qualityWords(why.quality).join(", ")]);
    $("alert-title").textContent = raised.summary;
    $("alert-facts").replaceChildren(...pairs(facts));
    $("alert-why").hidden = !why;
    $("alert-picture").hidden = true;
    $("alert-choice").replaceChildren();
    $("alert-look").hidden = false;
    if (!why) return say(call_id ? "This alert carries no explanation." : "This alert is about the daemon itself.");
    say("");
    windowsOf(why);
    const track = await trackOf(raised);
    if (isOver(raised.alert_id)) return;
    const marks = why.windows.map(({ start_s, end_s }) => [start_s, end_s]);
    const first = Math.min(at_s, ...marks.map(([start_s]) => start_s));
    const lane = track.length > 0 && !Number.isNaN(track.smoothed[track.length - 1]);
    chart = new Chart($("alert-chart"), track, () => store.model, { spanS: track.last - first + AROUND_S, lane, marks });
    const words = marks.length ? `the windows that drove the alert lie from ${seconds(first)} to ${seconds(at_s)}` : "";
    $("alert-chart").setAttribute("aria-label", `Scores of ${leg}: ${words}`);
  }

  async function open() {
    const id = location.hash.match(ADDRESS)?.[1] ?? "";
    if (id === shown) return;
    shown = id;
    chart?.close();
    chart = null;
    if (!id) return $("alert").close();
    const record = await getJson(`api/alerts/${id}`).catch((error) => error);
    if (isOver(id)) return;
    $("alert-title").textContent = "This alert cannot be shown";
    $("alert-facts").replaceChildren();
    $("alert-why").hidden = true;
    if (!$("alert").open) $("alert").showModal();
    if (record instanceof Error) say(record.message);
    else await show(record);
  }

  $("alert").addEventListener("close", () => {
    if (ADDRESS.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);
    open();
  });
  $("alert-look").addEventListener("click", () => showPicture(shown, 0));
  addEventListener("hashchange", open);
  open();
}

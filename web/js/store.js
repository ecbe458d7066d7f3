// What this page knows of the daemon, in the daemon's own words (fac_stream/events.py). Events change it in one
// place; views listen by topic and patch their own nodes.
//
//   snapshot   everything may have changed
//   call       (call) one call began, ended or learnt its history
//   leg        (call, leg) one leg has a new score or decision
//   ended      the list of ended calls changed
//   alerts     the list of alerts changed
//   alert      (alert) a new one was raised
//
// A call is a `CallSummary` whose `legs` are a Map by name; a leg is a `LegSummary` with `skipped` and `latency_ms`
// of its last window and the `track` of all of them.

import { Track } from "./track.js";

const MOST_ENDED = 20;
const MOST_ALERTS = 100;
const SEVERITY = ["unknown", "human", "suspicious", "synthetic"];

/** The more severe of two decisions. */
export const worse = (a, b) => (SEVERITY.indexOf(a) >= SEVERITY.indexOf(b) ? a : b);

const nothing = { decision: "unknown", worst_decision: "unknown", smoothed: null, last_score: null, peak_score: null };
const newLeg = (leg) => ({ ...nothing, leg, windows: 0, speech_s: 0, level_dbfs: null, latency_ms: null, quality: [] });

export function legOf(call, name) {
  if (!call.legs.has(name)) call.legs.set(name, { ...newLeg(name), track: new Track() });
  return call.legs.get(name);
}

/** A `CallSummary` over what was known of that call before. */
export function callFrom(summary, known) {
  const call = { ...summary, legs: known?.legs ?? new Map() };
  for (const said of summary.legs) Object.assign(legOf(call, said.leg), said);
  return call;
}

/** A call id may come back for a new call. The event of a start and the summary tell its time a little apart. */
const isSame = (a, b) => a.call_id === b.call_id && Math.abs(new Date(a.started_at) - new Date(b.started_at)) < 2000;

export class Store {
  /** The last snapshot: model, device, hop_s, raise_at, clear_at. */
  model = null;
  live = new Map();
  /** Newest first. */
  ended = [];
  /** Newest first; `over` says that it was resolved, `marks` what people said of it, oldest first. */
  alerts = [];
  #listeners = {};

  on(topic, listener) {
    (this.#listeners[topic] ??= []).push(listener);
  }

  emit(topic, ...args) {
    for (const listener of this.#listeners[topic] ?? []) listener(...args);
  }

  /** Take in one event; types of a newer daemon are passed over. */
  apply(event) {
    REDUCERS[event.type]?.(this, event, this.live.get(event.call_id));
  }

  remember(call) {
    if (this.ended.some((known) => isSame(known, call))) return;
    const byStart = (a, b) => new Date(b.started_at) - new Date(a.started_at);
    this.ended = [call, ...this.ended].sort(byStart).slice(0, MOST_ENDED);
  }

  /** Alerts as GET /api/alerts has them: of before this page listened, and what was said of them meanwhile. */
  recall(records) {
    if (!records.length) return;
    const kept = new Map(this.alerts.map((alert) => [alert.alert_id, alert]));
    for (const { raised, resolved, marks } of records) {
      kept.set(raised.alert_id, { ...raised, over: Boolean(resolved), reason: resolved?.reason, marks });
    }
    const byTime = (a, b) => new Date(b.time) - new Date(a.time);
    this.alerts = latest([...kept.values()].sort(byTime));
    this.emit("alerts");
  }
}

const REDUCERS = {
  snapshot(store, event) {
    const calls = event.calls.map((summary) => {
      const known = store.live.get(summary.call_id);
      return callFrom(summary, known && isSame(known, summary) ? known : undefined);
    });
    const active = event.calls.flatMap((summary) => summary.alerts);
    store.model = event;
    store.live = new Map(calls.map((call) => [call.call_id, call]));
    const fraud = store.alerts.filter((alert) => alert.category !== "health"); // the others stand in no snapshot
    for (const alert of fraud) alert.over ||= !active.some((other) => other.alert_id === alert.alert_id);
    for (const alert of active) addAlert(store, alert);
    store.emit("snapshot");
    store.emit("alerts");
  },

  "call.started"(store, event) {
    const call = callFrom({ ...event, started_at: event.time, ended_at: null, duration_s: 0, legs: [] });
    for (const name of event.legs) legOf(call, name);
    store.live.set(call.call_id, call);
    store.emit("call", call);
  },

  "window.scored"(store, event, call) {
    if (!call) return;
    const leg = legOf(call, event.leg);
    const { decision, smoothed, score, skipped, level_dbfs, latency_ms } = event;
    Object.assign(leg, { decision, smoothed, skipped, level_dbfs, latency_ms, last_score: score });
    leg.windows += 1;
    leg.worst_decision = worse(leg.worst_decision, decision);
    if (score !== null) {
      leg.peak_score = Math.max(leg.peak_score ?? 0, score);
      leg.quality = event.quality ?? [];
      leg.speech_s += addedSpeech(event, store.model.hop_s);
    }
    leg.track.push(event);
    call.duration_s = Math.max(call.duration_s, event.end_s);
    store.emit("leg", call, leg);
  },

  "decision.changed"(store, event, call) {
    if (!call) return;
    const leg = legOf(call, event.leg);
    const { decision, smoothed, speech_s } = event;
    Object.assign(leg, { decision, smoothed, speech_s, worst_decision: worse(leg.worst_decision, decision) });
    store.emit("leg", call, leg);
  },

  "alert.raised"(store, event) {
    if (!addAlert(store, event)) return;
    store.emit("alerts");
    store.emit("alert", event);
  },

  "alert.resolved"(store, event) {
    const alert = store.alerts.find((known) => known.alert_id === event.alert_id);
    if (alert) Object.assign(alert, { over: true, reason: event.reason });
    store.emit("alerts");
  },

  "alert.marked"(store, event) {
    const alert = store.alerts.find((known) => known.alert_id === event.alert_id);
    if (!alert) return;
    const others = alert.marks.filter(({ mark, by }) => mark !== event.mark || by !== event.by);
    alert.marks = [...others, event];
    store.emit("alerts");
  },

  "health.changed"(store, event, call) {
    if (!call) return;
    call.silent = event.status !== "ok";
    store.emit("call", call);
  },

  "call.ended"(store, event, call) {
    if (!call) return;
    const { time, reason, detail, duration_s } = event;
    store.live.delete(call.call_id);
    Object.assign(call, { ended_at: time, end_reason: reason, detail, duration_s });
    for (const said of event.legs) Object.assign(legOf(call, said.leg), said);
    store.remember(call);
    store.emit("call", call);
    store.emit("ended");
  },

  "call.deleted"(store, event) {
    const others = (known) => known.call_id !== event.call_id;
    store.ended = store.ended.filter(others);
    store.alerts = store.alerts.filter(others);
    store.emit("ended");
    store.emit("alerts");
  },
};

/** Windows overlap: of each, only the part that the hop adds is new. */
function addedSpeech({ start_s, end_s, speech_s }, hopS) {
  return end_s > start_s ? speech_s * Math.min(1, hopS / (end_s - start_s)) : 0;
}

function addAlert(store, alert) {
  if (store.alerts.some((known) => known.alert_id === alert.alert_id)) return false;
  store.alerts = latest([{ ...alert, over: false, marks: [] }, ...store.alerts]);
  return true;
}

/** The first of each category: what the daemon tells of itself pushes out no alert about a voice. */
function latest(alerts) {
  const count = {};
  return alerts.filter(({ category }) => (count[category] = (count[category] ?? 0) + 1) <= MOST_ALERTS);
}

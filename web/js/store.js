// What this page knows of the daemon. Events change it in one place; views listen by topic and patch their own nodes.
//
//   snapshot   everything may have changed
//   call       (call) one call began, ended or learnt its history
//   leg        (call, leg) one leg has a new score or decision
//   alerts     the list of alerts changed
//   alert      (alert) a new one was raised

import { Track } from "./track.js";

const MOST_ENDED = 20;
const MOST_ALERTS = 100;

/**
 * @typedef {object} Leg
 * @property {string} name
 * @property {string} decision
 * @property {string} worst
 * @property {number | null} smoothed
 * @property {number | null} score of the last window
 * @property {number | null} peak
 * @property {string | null} skipped why the last window has no score
 * @property {number} speechS seconds of speech so far
 * @property {number | null} level dBFS
 * @property {number | null} latencyMs
 * @property {Track} track
 *
 * @typedef {object} Call
 * @property {string} id
 * @property {string} source
 * @property {string} startedAt
 * @property {string | null} endedAt
 * @property {string | null} endReason
 * @property {string | null} detail
 * @property {number} durationS
 * @property {number} sampleRate
 * @property {string} encoding
 * @property {Record<string, any>} metadata
 * @property {Map<string, Leg>} legs
 */

const SEVERITY = { unknown: 0, human: 1, suspicious: 2, synthetic: 3 };

/** @param {string} a @param {string} b @returns {string} the more severe decision */
export const worse = (a, b) => ((SEVERITY[a] ?? 0) >= (SEVERITY[b] ?? 0) ? a : b);

/** @returns {Leg} */
function newLeg(name) {
  return { name, decision: "unknown", worst: "unknown", smoothed: null, score: null, peak: null, skipped: null, speechS: 0, level: null, latencyMs: null, track: new Track() };
}

/** @returns {Leg} */
export function legOf(call, name) {
  let leg = call.legs.get(name);
  if (!leg) call.legs.set(name, (leg = newLeg(name)));
  return leg;
}

/** A `CallSummary` of the daemon over what was known of that call before. @returns {Call} */
export function callFrom(summary, known = undefined) {
  const call = {
    id: summary.call_id,
    source: summary.source,
    startedAt: summary.started_at,
    endedAt: summary.ended_at,
    endReason: summary.end_reason,
    detail: null,
    durationS: summary.duration_s,
    sampleRate: summary.sample_rate,
    encoding: summary.encoding,
    metadata: summary.metadata,
    legs: known?.legs ?? new Map(),
  };
  summarise(call, summary.legs);
  return call;
}

function summarise(call, legs) {
  for (const said of legs) {
    Object.assign(legOf(call, said.leg), {
      decision: said.decision,
      worst: said.worst_decision,
      smoothed: said.smoothed,
      score: said.last_score,
      peak: said.peak_score,
      speechS: said.speech_s,
      level: said.level_dbfs,
    });
  }
}

export class Store {
  model = null;
  live = new Map();
  /** @type {Call[]} newest first */
  ended = [];
  /** @type {any[]} newest first; `over` says that it was resolved */
  alerts = [];
  #listeners = new Map();

  on(topic, listener) {
    const set = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, set.add(listener));
  }

  emit(topic, ...args) {
    for (const listener of this.#listeners.get(topic) ?? []) listener(...args);
  }

  /** Take in one event; types of a newer daemon are passed over. */
  apply(event) {
    const reducer = REDUCERS[event.type];
    if (reducer) reducer(this, event);
  }

  remember(call) {
    const others = this.ended.filter((other) => !isSame(other, call.id, call.startedAt));
    this.ended = [call, ...others].sort((a, b) => Date.parse(b.startedAt) - Date.parse(a.startedAt)).slice(0, MOST_ENDED);
  }
}
const REDUCERS = {
  snapshot(store, event) {
    store.model = { name: event.model, device: event.device, hopS: event.hop_s, raiseAt: event.raise_at, clearAt: event.clear_at };
    const live = event.calls.map((summary) => callFrom(summary, sameCall(store, summary)));
    store.live = new Map(live.map((call) => [call.id, call]));
    const active = event.calls.flatMap((summary) => summary.alerts);
    const ids = new Set(active.map((alert) => alert.alert_id));
    for (const alert of store.alerts) alert.over ||= !ids.has(alert.alert_id);
    for (const alert of active) addAlert(store, alert);
    store.emit("snapshot");
    store.emit("alerts");
  },

  "call.started"(store, event) {
    const call = callFrom({ ...event, started_at: event.time, ended_at: null, end_reason: null, duration_s: 0, legs: [] });
    for (const name of event.legs) legOf(call, name);
    store.live.set(call.id, call);
    store.emit("call", call);
  },

  "window.scored"(store, event) {
    const call = store.live.get(event.call_id);
    if (!call) return;
    const leg = legOf(call, event.leg);
    leg.decision = event.decision;
    leg.worst = worse(leg.worst, event.decision);
    leg.smoothed = event.smoothed;
    leg.score = event.score;
    leg.skipped = event.skipped;
    leg.peak = event.score === null ? leg.peak : Math.max(leg.peak ?? 0, event.score);
    leg.level = event.level_dbfs;
    leg.latencyMs = event.latency_ms;
    leg.speechS = event.score === null ? leg.speechS : leg.speechS + addedSpeech(store, event);
    leg.track.push(event);
    call.durationS = Math.max(call.durationS, event.end_s);
    store.emit("leg", call, leg);
  },

  "decision.changed"(store, event) {
    const call = store.live.get(event.call_id);
    if (!call) return;
    const leg = legOf(call, event.leg);
    leg.decision = event.decision;
    leg.worst = worse(leg.worst, event.decision);
    leg.smoothed = event.smoothed;
    leg.speechS = event.speech_s;
    store.emit("leg", call, leg);
  },

  "alert.raised"(store, event) {
    if (!addAlert(store, event)) return;
    store.emit("alerts");
    store.emit("alert", event);
  },

  "alert.resolved"(store, event) {
    for (const alert of store.alerts) {
      if (alert.alert_id === event.alert_id) Object.assign(alert, { over: true, reason: event.reason });
    }
    store.emit("alerts");
  },

  "call.ended"(store, event) {
    const call = store.live.get(event.call_id);
    if (!call) return;
    store.live.delete(call.id);
    Object.assign(call, { endedAt: event.time, endReason: event.reason, detail: event.detail, durationS: event.duration_s });
    summarise(call, event.legs);
    store.remember(call);
    store.emit("call", call);
  },
};

/** A call id may come back for a new call. The event of a start and the summary tell its time a little apart. */
function isSame(call, id, startedAt) {
  return call.id === id && Math.abs(Date.parse(call.startedAt) - Date.parse(startedAt)) < 2000;
}

function sameCall(store, summary) {
  const known = store.live.get(summary.call_id);
  return known && isSame(known, summary.call_id, summary.started_at) ? known : undefined;
}

/** Windows overlap: of each, only the part that the hop adds is new. */
function addedSpeech(store, event) {
  const length = event.end_s - event.start_s;
  return length > 0 ? event.speech_s * Math.min(1, (store.model?.hopS ?? length) / length) : 0;
}

function addAlert(store, alert) {
  if (store.alerts.some((known) => known.alert_id === alert.alert_id)) return false;
  store.alerts = [{ ...alert, over: false }, ...store.alerts].slice(0, MOST_ALERTS);
  return true;
}

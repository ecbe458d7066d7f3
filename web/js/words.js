// What states are called and how they look. "unknown" is never shown as human; no colour comes without its word.

import { el, icon } from "./dom.js";

const SKIPPED = {
  no_speech: "No speech",
  late: "Skipped: late",
  overload: "Skipped: overload",
  loss: "Skipped: packets lost",
  failed: "Scoring failed",
};
const DECIDED = { unknown: "Listening…", human: "Human", suspicious: "Suspicious", synthetic: "Synthetic" };

const QUALITY = { quiet: "very quiet", narrowband: "muffled", clipped: "distorted", noisy: "noisy", lossy: "full of gaps" };

export const SOURCES = {
  microphone: "microphone",
  file: "recording",
  websocket: "WebSocket",
  twilio: "Twilio",
  telnyx: "Telnyx",
  plivo: "Plivo",
  exotel: "Exotel",
  signalwire: "SignalWire",
  vonage: "Vonage",
  audiosocket: "AudioSocket",
  asterisk: "Asterisk",
  freeswitch: "FreeSWITCH",
  audiohook: "AudioHook",
  rtp: "RTP",
  siprec: "SIPREC",
  stdin: "standard input",
  whip: "WebRTC",
};
export const ENDED = {
  completed: "completed",
  idle: "no more audio came",
  too_long: "it reached the time limit",
  protocol_error: "the sender broke the protocol",
  source_lost: "its source was lost",
  shutdown: "the daemon was shut down",
  failed: "it failed",
};

/** The decision on a leg that is listened to, or why there is none yet. */
export const decisionWord = (decision, skipped) => (decision === "unknown" && SKIPPED[skipped]) || DECIDED[decision];

/** The decision where nobody listens any more. */
export const finalWord = (decision) => (decision === "unknown" ? "No decision" : DECIDED[decision]);

/** In what the sound is unlike what the model was calibrated on; flags of a newer daemon stand for themselves. */
export const qualityWords = (flags) => (flags ?? []).map((flag) => QUALITY[flag] ?? flag);

/** Fill a badge: colour, icon and word. A tone is a decision; CSS knows its colour. */
export function showBadge(node, tone, word) {
  if (node.dataset.tone === tone && node.textContent === word) return;
  node.dataset.tone = tone;
  node.replaceChildren(icon(tone), el("span", {}, word));
}

/** A meter with a value is a `meter`; without one it is a picture of nothing yet, never a zero. */
export function speakMeter(node, name, p, words) {
  const values = { valuemin: 0, valuemax: 100, valuenow: Math.round(p * 100), valuetext: words };
  node.setAttribute("role", p === null ? "img" : "meter");
  node.setAttribute("aria-label", p === null ? `${name}: ${words}` : name);
  for (const [key, value] of Object.entries(values)) {
    if (p === null) node.removeAttribute(`aria-${key}`);
    else node.setAttribute(`aria-${key}`, value);
  }
}

/** Clipped rather than scaled, so that its ends stay round. */
export function fillMeter(bar, p) {
  bar.style.clipPath = `inset(0 ${100 - p * 100}% 0 0 round 5px)`;
}

// What states are called. "unknown" is never shown as human, and no colour comes without its word.

import { el, icon } from "./dom.js";
const SKIPPED = {
  no_speech: "No speech",
  late: "Skipped: late",
  overload: "Skipped: overload",
  failed: "Scoring failed",
};
export const SOURCES = { microphone: "microphone", file: "recording", websocket: "WebSocket" };
export const ENDED = {
  completed: "completed",
  idle: "no audio any more",
  too_long: "reached the time limit",
  protocol_error: "broke the protocol",
  source_lost: "source lost",
  shutdown: "daemon shut down",
  failed: "failed",
};
const DECIDED = { unknown: "Listening…", human: "Human", suspicious: "Suspicious", synthetic: "Synthetic" };

/** @returns {string} the decision, or why there is none yet */
export function decisionWord(decision, skipped = null) {
  if (decision === "unknown" && skipped) return SKIPPED[skipped] ?? DECIDED.unknown;
  return DECIDED[decision] ?? decision;
}

/** Fill a badge: colour, icon and word. */
export function showBadge(node, state, word) {
  if (node.dataset.state === state && node.textContent === word) return;
  node.dataset.state = state;
  node.replaceChildren(icon(state), el("span", {}, word));
}

/**
 * A meter with a value is a `meter`; without one it is a picture of nothing yet, never a zero.
 * @param {HTMLElement} node @param {string} name @param {number | null} p @param {string} words
 */
export function speakMeter(node, name, p, words) {
  node.setAttribute("role", p === null ? "img" : "meter");
  node.setAttribute("aria-label", p === null ? `${name}: ${words}` : name);
  for (const [key, value] of Object.entries({ valuemin: 0, valuemax: 100, valuenow: Math.round((p ?? 0) * 100), valuetext: words })) {
    if (p === null) node.removeAttribute(`aria-${key}`);
    else node.setAttribute(`aria-${key}`, String(value));
  }
}

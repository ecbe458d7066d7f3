// Alerts: newest first, spoken once, resolved ones kept and paled; those of the daemon about itself in their own list.
// Whoever looks says of each what it was.

import { postJson } from "../api.js";
import { $, clock, el, icon, percent, throttle } from "../dom.js";

const ICONS = { critical: "synthetic", warning: "suspicious", info: "info" };
const TONES = { critical: "synthetic", warning: "suspicious", info: "unknown" };
const ENDS = { call_ended: "call ended", restarted: "daemon restarted" };
const MARKS = { acknowledged: "Seen", confirmed_fake: "Confirm fake", false_alarm: "False alarm" };
const SAID = { acknowledged: "Seen by", confirmed_fake: "Confirmed fake, says", false_alarm: "False alarm, says" };
const KEY = "fac.name";

const isHealth = (alert) => alert.category === "health";

/** Whose marks these are, kept by the browser; one that keeps nothing can mark all the same. */
const stored = {
  get: () => {
    try {
      return localStorage.getItem(KEY) ?? "";
    } catch {
      return "";
    }
  },
  set: (name) => {
    try {
      localStorage.setItem(KEY, name);
    } catch {
      // It is asked for again the next time.
    }
  },
};

function head(alert) {
  const time = el("time", { dateTime: alert.time }, new Date(alert.time).toLocaleTimeString());
  const word = alert.over ? (ENDS[alert.reason] ?? "resolved") : alert.severity;
  return el("p", { className: "alert-head" }, el("b", {}, word), time);
}

function foot(alert) {
  const place = [alert.call_id, alert.leg].filter(Boolean).join(", ");
  const line = el("p", { className: "hint" }, el("a", { href: `#call-${encodeURIComponent(alert.call_id)}` }, place));
  line.append(` at ${clock(alert.at_s)}, score ${percent(alert.smoothed)}`);
  line.append(" · ", el("a", { href: `#alert-${alert.alert_id}` }, "Why?"));
  return line;
}

/** Who has seen it, and the verdict: the last one counts. */
function said({ marks }) {
  const verdict = marks.filter(({ mark }) => mark !== "acknowledged").at(-1);
  const seen = marks.filter(({ mark }) => mark === "acknowledged").at(-1);
  const words = [verdict, seen].filter(Boolean).map(({ mark, by, note }) => `${SAID[mark]} ${by}${note ? `: ${note}` : ""}`);
  return { verdict: verdict?.mark, words: words.join(". ") };
}

function buttons(alert, verdict, mark) {
  const kinds = isHealth(alert) ? ["acknowledged"] : Object.keys(MARKS);
  const row = el("p", { className: "marks", role: "group", ariaLabel: `What was it? ${alert.summary}` });
  for (const kind of kinds) {
    if (kind === "acknowledged" && alert.marks.length) continue;
    const button = el("button", { type: "button", className: "quiet" }, MARKS[kind]);
    if (kind !== "acknowledged") button.ariaPressed = String(verdict === kind);
    button.dataset.key = `${alert.alert_id} ${kind}`;
    button.addEventListener("click", () => mark(alert, kind));
    row.append(button);
  }
  return row;
}

function entry(alert, mark) {
  const { verdict, words } = said(alert);
  const item = el("li", { className: "alert" }, icon(alert.over ? "done" : ICONS[alert.severity]));
  const body = el("div", {}, head(alert), el("p", {}, alert.summary));
  if (!isHealth(alert)) body.append(foot(alert));
  if (words) body.append(el("p", { className: "hint" }, words));
  body.append(buttons(alert, verdict, mark));
  item.append(body);
  item.dataset.tone = alert.over ? "over" : TONES[alert.severity];
  return item;
}

export function mountAlerts(store) {
  let unsaid = [];
  const announce = throttle(() => {
    $("announcer").textContent = unsaid.length > 3 ? `${unsaid.length} new alerts` : unsaid.join(". ");
    unsaid = [];
  }, 1000);

  const mark = async ({ alert_id }, kind) => {
    const by = $("marker").value.trim();
    $("mark-status").textContent = by ? "" : "Say who you are first.";
    if (!by) return $("marker").focus();
    stored.set(by);
    try {
      store.recall([await postJson(`api/alerts/${alert_id}/marks`, { mark: kind, by })]);
    } catch (error) {
      $("mark-status").textContent = `Not marked: ${error.message}`;
    }
  };

  const show = () => {
    const [fraud, health] = [store.alerts.filter((alert) => !isHealth(alert)), store.alerts.filter(isHealth)];
    const active = fraud.filter((alert) => !alert.over).length;
    const held = document.activeElement?.dataset.key;
    $("alert-list").replaceChildren(...fraud.map((alert) => entry(alert, mark)));
    $("health-list").replaceChildren(...health.map((alert) => entry(alert, mark)));
    // The button that was pressed was replaced under the finger.
    if (held) document.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
    $("no-alerts").hidden = fraud.length > 0;
    $("health").hidden = health.length === 0;
    $("mark-name").hidden = store.alerts.length === 0;
    $("alert-count").textContent = active || "";
    $("health-count").textContent = health.filter((alert) => !alert.over).length || "";
    document.title = active ? `(${active}) FAC Stream` : "FAC Stream";
  };

  $("marker").value = stored.get();
  store.on("alerts", show);
  store.on("alert", (alert) => {
    unsaid.push(`${isHealth(alert) ? "The daemon" : "Alert"}, ${alert.severity}: ${alert.summary}`);
    announce();
  });
}

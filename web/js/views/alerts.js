// Alerts: newest first, spoken once, resolved ones kept and paled.

import { $, clock, el, icon, percent, throttle } from "../dom.js";

const ICONS = { critical: "synthetic", warning: "suspicious", info: "info" };
const TONES = { critical: "synthetic", warning: "suspicious", info: "unknown" };

function entry(alert) {
  const past = alert.reason === "call_ended" ? "call ended" : "resolved";
  const place = [alert.call_id, alert.leg].filter(Boolean).join(", ");
  const time = new Date(alert.time).toLocaleTimeString();
  const head = el("p", { className: "alert-head" }, el("b", {}, alert.over ? past : alert.severity));
  head.append(el("time", { dateTime: alert.time }, time));
  const foot = el("p", { className: "hint" }, el("a", { href: `#call-${encodeURIComponent(alert.call_id)}` }, place));
  foot.append(` at ${clock(alert.at_s)}, score ${percent(alert.smoothed)}`);
  foot.append(" · ", el("a", { href: `#alert-${alert.alert_id}` }, "Why?"));
  const item = el("li", { className: "alert" }, icon(alert.over ? "done" : ICONS[alert.severity]));
  item.append(el("div", {}, head, el("p", {}, alert.summary), foot));
  item.dataset.tone = alert.over ? "over" : TONES[alert.severity];
  return item;
}

export function mountAlerts(store) {
  let unsaid = [];
  const announce = throttle(() => {
    $("announcer").textContent = unsaid.length > 3 ? `${unsaid.length} new alerts` : unsaid.join(". ");
    unsaid = [];
  }, 1000);

  store.on("alerts", () => {
    const active = store.alerts.filter((alert) => !alert.over).length;
    $("alert-list").replaceChildren(...store.alerts.map(entry));
    $("no-alerts").hidden = store.alerts.length > 0;
    $("alert-count").textContent = active || "";
    document.title = active ? `(${active}) FAC Stream` : "FAC Stream";
  });
  store.on("alert", (alert) => {
    unsaid.push(`Alert, ${alert.severity}: ${alert.summary}`);
    announce();
  });
}

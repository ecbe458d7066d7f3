// Alerts: newest first, spoken once, resolved ones kept and paled.

import { $, clock, el, icon, percent, throttle, timeOfDay } from "../dom.js";
const ICONS = { critical: "synthetic", warning: "suspicious", info: "info" };

function entry(alert) {
  const place = `${alert.call_id}${alert.leg ? `, ${alert.leg}` : ""}`;
  const state = alert.over ? (alert.reason === "call_ended" ? "call ended" : "resolved") : alert.severity;
  return el(
    "li",
    { className: `alert ${alert.over ? "over" : alert.severity}` },
    icon(alert.over ? "done" : (ICONS[alert.severity] ?? "bell")),
    el(
      "div",
      {},
      el("p", { className: "alert-head" }, el("b", {}, state), el("time", { dateTime: alert.time ?? "" }, alert.time ? timeOfDay(alert.time) : "")),
      el("p", {}, alert.summary),
      el("p", { className: "alert-place" }, el("a", { href: `#call-${encodeURIComponent(alert.call_id)}` }, place), ` at ${clock(alert.at_s)} · score ${percent(alert.smoothed)}`),
    ),
  );
}

/** @param {import("../store.js").Store} store */
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

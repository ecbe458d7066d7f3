// What happened before this page listened: ended calls, and the timelines of calls that began earlier.

import { getJson } from "./api.js";
import { callFrom, legOf } from "./store.js";

/** Fill the tracks of one call from the daemon. A call it has forgotten keeps what we saw. */
export async function loadTimeline(store, call) {
  const detail = await getJson(`api/calls/${encodeURIComponent(call.call_id)}`).catch(() => null);
  if (!detail) return;
  for (const [name, points] of Object.entries(detail.timeline)) legOf(call, name).track.backfill(points);
  store.emit("call", call);
}

/** After every (re)connection: the live calls one after the other, so that a hundred of them are no burst. */
export async function catchUp(store) {
  const begun = [...store.live.values()].filter((call) => [...call.legs.values()].some((leg) => leg.windows));
  for (const category of ["fraud", "health"]) {
    const { alerts } = await getJson(`api/alerts?limit=100&category=${category}`).catch(() => ({ alerts: [] }));
    store.recall(alerts);
  }
  const { calls } = await getJson("api/calls").catch(() => ({ calls: [] }));
  for (const summary of calls) if (summary.ended_at) store.remember(callFrom(summary));
  store.emit("ended");
  for (const call of begun) await loadTimeline(store, call);
}

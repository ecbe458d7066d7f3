// The calls that are going on, and those that ended while somebody watched or not long before.

import { $, clock, el, pairs, stamp } from "../dom.js";
import { redraw } from "../frame.js";
import { worse } from "../store.js";
import { ENDED, finalWord, showBadge, SOURCES } from "../words.js";
import { LegView } from "./leg.js";

const MOST_CHIPS = 6;
const ICONS = ["microphone", "file"];

class CallView {
  legs = new Map();

  constructor(store, call, template) {
    const { root, refs } = stamp(template);
    Object.assign(this, { store, call, root, refs });
    root.id = `call-${call.call_id}`;
    root.setAttribute("aria-label", `Call ${call.call_id}`);
    refs.icon.setAttribute("href", `#i-${ICONS.includes(call.source) ? call.source : "websocket"}`);
    refs.title.textContent = call.call_id;
    refs.source.textContent = `${SOURCES[call.source] ?? call.source}, ${call.sample_rate / 1000} kHz`;
    this.#draw();
  }

  /** Legs are added as they turn up and stay in place, so that nothing flickers. */
  update() {
    for (const leg of this.call.legs.values()) {
      const known = this.legs.get(leg.leg);
      known?.update();
      if (known) continue;
      const view = new LegView(this.store, this.call, leg);
      this.legs.set(leg.leg, view);
      this.refs.legs.append(view.root);
    }
    redraw(this.#draw);
  }

  updateLeg(name) {
    if (!this.legs.has(name)) this.update();
    else this.legs.get(name).update();
    redraw(this.#draw);
  }

  close() {
    for (const view of this.legs.values()) view.close();
    this.root.remove();
  }

  #draw = () => {
    const silent = this.call.silent && !this.call.ended_at;
    this.refs.elapsed.textContent = clock(this.call.duration_s) + (silent ? " · no audio arrives" : "");
    const which = this.call.ended_at ? "worst_decision" : "decision";
    this.root.dataset.tone = [...this.call.legs.values()].map((leg) => leg[which]).reduce(worse, "unknown");
  };
}

class LiveView extends CallView {
  constructor(store, call) {
    super(store, call, "t-call");
    const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
    const chips = Object.entries(call.metadata).slice(0, MOST_CHIPS);
    this.refs.chips.append(...pairs(chips.map(([key, value]) => [key, text(value)])));
  }
}

/** A call that is over: one line, and its timelines once it is opened. */
class EndedView extends CallView {
  constructor(store, call, load) {
    super(store, call, "t-ended");
    const { refs, root } = this;
    const legs = [...call.legs.values()];
    const reason = [ENDED[call.end_reason] ?? call.end_reason, call.detail].filter(Boolean).join(": ");
    refs.elapsed.title = `Began ${new Date(call.started_at).toLocaleString()}`;
    refs.reason.textContent = call.end_reason === "completed" ? "" : `Ended early: ${reason}.`;
    for (const leg of legs) {
      const badge = el("span", { className: "badge" });
      showBadge(badge, leg.worst_decision, `${legs.length > 1 ? `${leg.leg}: ` : ""}${finalWord(leg.worst_decision)}`);
      refs.verdicts.append(badge);
    }
    root.addEventListener("toggle", () => {
      if (!root.open) return;
      this.update();
      if (legs.some((leg) => leg.windows && !leg.track.length)) load(call);
    });
  }
}

/** `loadTimeline(call)` asks the daemon for what was scored before this page listened. */
export function mountCalls(store, loadTimeline) {
  const live = new Map();
  const ended = new Map();

  const showLive = () => {
    for (const [id, view] of live) {
      if (store.live.get(id)?.legs === view.call.legs) continue;
      view.close();
      live.delete(id);
    }
    for (const call of store.live.values()) {
      if (!live.has(call.call_id)) {
        live.set(call.call_id, new LiveView(store, call));
        $("live-calls").prepend(live.get(call.call_id).root);
      }
      const view = live.get(call.call_id);
      view.call = call;
      view.update();
    }
    $("call-count").textContent = live.size || "";
    $("empty").hidden = live.size > 0;
    $("legend").hidden = live.size === 0;
  };

  const showEnded = () => {
    for (const [call, view] of ended) {
      if (store.ended.includes(call)) continue;
      view.close();
      ended.delete(call);
    }
    for (const [place, call] of store.ended.entries()) {
      if (ended.has(call)) continue;
      ended.set(call, new EndedView(store, call, loadTimeline));
      $("ended-calls").insertBefore(ended.get(call).root, $("ended-calls").children[place] ?? null);
    }
    $("ended").hidden = ended.size === 0;
  };

  store.on("snapshot", showLive);
  store.on("ended", showEnded);
  store.on("leg", (call, leg) => live.get(call.call_id)?.updateLeg(leg.leg));
  store.on("call", (call) => {
    const justEnded = call.ended_at && live.has(call.call_id);
    showLive();
    showEnded();
    ended.get(call)?.update();
    // What was watched a moment ago stays open; the one before it folds.
    if (justEnded) for (const [other, view] of ended) view.root.open = other === call;
  });
}

// The calls that are going on, and those that ended while somebody watched or not long before.

import { $, clock, el, pairs, stamp } from "../dom.js";
import { redraw } from "../frame.js";
import { decisionWord, ENDED, showBadge, SOURCES } from "../words.js";
import { worse } from "../store.js";
import { LegView } from "./leg.js";

class CallView {
  /** @param {import("../store.js").Store} store @param {Call} call @param {string} template */
  constructor(store, call, template) {
    const { root, refs } = stamp(template);
    this.store = store;
    this.call = call;
    this.root = root;
    this.refs = refs;
    this.legs = new Map();
    root.id = `call-${call.id}`;
    root.tabIndex = -1;
    root.setAttribute("aria-label", `Call ${call.id}`);
    refs.icon.setAttribute("href", `#i-${call.source in SOURCES ? call.source : "websocket"}`);
    refs.title.textContent = call.id;
    refs.source.textContent = `${SOURCES[call.source] ?? call.source}, ${call.sampleRate / 1000} kHz`;
    const metadata = Object.entries(call.metadata).slice(0, 6).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]);
    refs.chips?.append(...pairs(metadata));
  }

  /** Legs as they are now; `LegView`s are kept, so that nothing flickers. */
  update() {
    for (const leg of this.call.legs.values()) {
      const known = this.legs.get(leg.name);
      if (known) {
        known.leg = leg;
        known.update();
        continue;
      }
      const view = new LegView(this.store, this.call, leg);
      this.legs.set(leg.name, view);
      this.refs.legs.append(view.root);
    }
    redraw(this.#draw);
  }

  updateLeg(name) {
    const view = this.legs.get(name);
    if (!view) return this.update();
    view.update();
    redraw(this.#draw);
  }

  #draw = () => {
    this.refs.elapsed.textContent = clock(this.call.durationS);
    this.root.dataset.decision = [...this.call.legs.values()].map((leg) => leg.decision).reduce(worse, "unknown");
  };

  close() {
    for (const view of this.legs.values()) view.close();
    this.root.remove();
  }
}

/** A call that is over: one line, and its timelines once it is opened. */
class EndedView extends CallView {
  /** @param {import("../store.js").Store} store @param {Call} call @param {(call: Call) => void} load */
  constructor(store, call, load) {
    super(store, call, "t-ended");
    const { refs, root } = this;
    refs.elapsed.textContent = clock(call.durationS);
    refs.elapsed.title = `Began ${new Date(call.startedAt).toLocaleString()}`;
    for (const leg of call.legs.values()) {
      const badge = el("span", { className: "badge small" });
      showBadge(badge, leg.worst, `${call.legs.size > 1 ? `${leg.name}: ` : ""}${leg.worst === "unknown" ? "No decision" : decisionWord(leg.worst)}`);
      refs.verdicts.append(badge);
    }
    const reason = [ENDED[call.endReason ?? ""] ?? call.endReason, call.detail].filter(Boolean).join(": ");
    refs.reason.textContent = `Ended: ${reason}.`;
    refs.reason.hidden = !reason || (call.endReason === "completed" && !call.detail);
    root.addEventListener("toggle", () => {
      if (!root.open) return;
      this.update();
      if (![...call.legs.values()].some((leg) => leg.track.length)) load(call);
    });
  }
}

/**
 * @param {import("../store.js").Store} store
 * @param {(call: Call) => void} loadTimeline
 */
export function mountCalls(store, loadTimeline) {
  const live = new Map();
  const ended = new Map();

  const syncLive = () => {
    for (const [id, view] of live) {
      if (store.live.get(id)?.startedAt === view.call.startedAt) continue;
      view.close();
      live.delete(id);
    }
    for (const call of store.live.values()) {
      let view = live.get(call.id);
      if (!view) {
        view = new CallView(store, call, "t-call");
        live.set(call.id, view);
        $("live-calls").prepend(view.root);
      }
      view.call = call;
      view.update();
    }
    $("call-count").textContent = live.size || "";
    $("empty").hidden = live.size > 0 || store.model === null;
    $("legend").hidden = live.size === 0;
  };

  const syncEnded = () => {
    for (const [call, view] of ended) {
      if (store.ended.includes(call)) continue;
      view.close();
      ended.delete(call);
    }
    store.ended.forEach((call, place) => {
      if (ended.has(call)) return;
      const view = new EndedView(store, call, loadTimeline);
      ended.set(call, view);
      $("ended-calls").insertBefore(view.root, $("ended-calls").children[place] ?? null);
    });
    $("ended").hidden = ended.size === 0;
  };

  store.on("snapshot", syncLive);
  store.on("history", syncEnded);
  store.on("leg", (call, leg) => live.get(call.id)?.updateLeg(leg.name));
  store.on("call", (call) => {
    const watched = live.has(call.id) && call.endedAt !== null;
    syncLive();
    syncEnded();
    if (watched) for (const [other, view] of ended) view.root.open = other === call;
    ended.get(call)?.update();
  });
}

// Connection and model in the header, what is known of the model at the foot, and the form that asks for a token.

import { getJson, onLocked, setToken } from "../api.js";
import { $, pairs, percent } from "../dom.js";
const PHASES = { connecting: "Connecting…", live: "Live", stale: "Stale", waiting: "Offline" };

/**
 * @param {import("../store.js").Store} store
 */
export function mountStatus(store) {
  store.on("snapshot", () => {
    const { name, device } = store.model;
    $("model-line").textContent = `${name} on ${device.toUpperCase()}`;
  });
  return {
    /** @param {string} phase @param {string} words @param {number} retryInS */
    show(phase, words, retryInS) {
      if ($("connection").dataset.phase !== phase || $("connection").textContent !== PHASES[phase]) {
        $("connection").dataset.phase = phase;
        $("connection").textContent = PHASES[phase];
      }
      $("main").dataset.phase = phase;
      const why = words || (phase === "waiting" ? $("retry").dataset.why : "");
      $("retry").dataset.why = why ?? "";
      $("retry").textContent = phase === "waiting" ? `${why} Trying again in ${retryInS} s.` : (why ?? "");
    },
  };
}

/** What the predecessor's status says; also the question that finds out whether a token is needed. */
export async function loadModel() {
  let status;
  try {
    status = await getJson("api/model/status");
  } catch (error) {
    const { response } = error;
    if (response?.status !== 503) throw error;
    status = await response.json();
  }
  $("model-facts").replaceChildren(
    ...pairs([
      ["Loaded", status.loaded ? "yes" : "no: the daemon scores nothing"],
      ["Version", status.version],
      ["Runs on", status.device],
      ["Test accuracy", Number.isFinite(status.accuracy) ? percent(status.accuracy) : null],
    ]),
  );
}

export function mountUnlock() {
  let asking = null;
  let tried = false;
  onLocked(() => {
    asking ??= new Promise((resolve) => {
      $("unlock-error").textContent = tried ? "That token was not accepted." : "";
      $("unlock").addEventListener("cancel", (event) => event.preventDefault());
      $("unlock").showModal();
      $("unlock-form").onsubmit = (event) => {
        event.preventDefault();
        setToken($("token").value.trim());
        tried = true;
        $("unlock").close();
        asking = null;
        resolve();
      };
    });
    return asking;
  });
}

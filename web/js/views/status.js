// Connection and model in the header, what is known of the model at the foot, and the form that asks for a token.

import { getModel, onLocked, setToken } from "../api.js";
import { $, pairs, percent } from "../dom.js";

const PHASES = {
  connecting: ["suspicious", "Connecting…"],
  live: ["human", "Live"],
  stale: ["suspicious", "Stale"],
  waiting: ["synthetic", "Offline"],
};

export function mountStatus(store) {
  store.on("snapshot", () => {
    $("model-line").textContent = `${store.model.model} on ${store.model.device.toUpperCase()}`;
  });
}

/** `words` say why; `retryInS` counts down beside the live region, which only speaks when the phase changes. */
export function showPhase(phase, words, retryInS) {
  const [tone, word] = PHASES[phase];
  if ($("connection").textContent !== word) $("connection").textContent = word;
  $("connection").dataset.tone = tone;
  $("main").dataset.phase = phase;
  $("retry").textContent = phase === "waiting" ? `${words} Trying again in ${retryInS} s.` : words;
}

export async function loadModel() {
  const { loaded, version, device, accuracy } = await getModel();
  const facts = [
    ["Loaded", loaded ? "yes" : "no, nothing is scored"],
    ["Version", version],
    ["Runs on", device],
    ["Accuracy on its test set", Number.isFinite(accuracy) ? percent(accuracy) : null],
  ];
  $("model-facts").replaceChildren(...pairs(facts));
}

export function mountUnlock() {
  let asking = null;
  let tried = false;
  const dialog = $("unlock");
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  onLocked(() => {
    asking ??= new Promise((resolve) => {
      $("unlock-error").textContent = tried ? "That token was not accepted." : "";
      dialog.showModal();
      $("unlock-form").onsubmit = (event) => {
        event.preventDefault();
        setToken($("token").value.trim());
        tried = true;
        dialog.close();
        asking = null;
        resolve();
      };
    });
    return asking;
  });
}

// Connection and model in the header, what is known of the model at the foot, and the form that asks for a token.

import { getModel, onLocked, setToken } from "../api.js";
import { $, pairs, percent } from "../dom.js";

const PHASES = {
  connecting: ["suspicious", "Connecting…"],
  live: ["human", "Live"],
  stale: ["suspicious", "Stale"],
  waiting: ["synthetic", "Offline"],
};

const COUNTDOWNS = {
  stale: (seconds) => `for ${seconds} s`,
  waiting: (seconds) => `Trying again in ${seconds} s.`,
};

export function mountStatus(store) {
  store.on("snapshot", () => {
    $("model-line").textContent = `${store.model.model} on ${store.model.device.toUpperCase()}`;
  });
}

/** `words` say why. What counts seconds stands beside the live regions, which only speak when phase or reason change. */
export function showPhase(phase, words, seconds) {
  const [tone, word] = PHASES[phase];
  if ($("connection").textContent !== word) $("connection").textContent = word;
  if ($("reason").textContent !== words) $("reason").textContent = words;
  $("countdown").textContent = COUNTDOWNS[phase]?.(seconds) ?? "";
  $("connection").dataset.tone = tone;
  $("main").dataset.phase = phase;
}

export async function loadModel() {
  const { loaded, version, device, accuracy, eer } = await getModel();
  const mistakes = eer && `${percent(eer.value)} (${percent(eer.low)} to ${percent(eer.high)})`;
  const facts = [
    ["Loaded", loaded ? "yes" : "no, nothing is scored"],
    ["Version", version],
    ["Runs on", device],
    ["Accuracy on its test set", Number.isFinite(accuracy) ? percent(accuracy) : null],
    ["Mistakes on its test set (equal error rate)", mistakes],
  ];
  $("model-facts").replaceChildren(...pairs(facts));
}

export function mountUnlock() {
  let asking = null;
  let tried = false;
  const dialog = $("unlock");
  // A second Escape closes a dialog whatever is done about "cancel", and nothing goes on without a token.
  dialog.addEventListener("close", () => asking && !dialog.open && dialog.showModal());
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

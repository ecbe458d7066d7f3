// Light, dark, or what the system says. CSS does the work through `color-scheme`; a canvas has to be told.

import { $, icon } from "./dom.js";

const KEY = "fac.theme";
const ORDER = ["system", "light", "dark"];
const listeners = new Set();
const probe = document.createElement("span");
probe.hidden = true;

/** @param {string} token @returns {string} a colour token as the current theme computes it, e.g. `rgb(1, 2, 3)` */
export function colour(token) {
  probe.style.color = `var(--${token})`;
  return getComputedStyle(probe).color;
}

/** Call `listener` whenever colours may have changed. */
export function onTheme(listener) {
  listeners.add(listener);
}

function apply(theme) {
  document.documentElement.dataset.theme = theme;
  const button = $("theme");
  button.replaceChildren(icon(theme));
  button.setAttribute("aria-label", `Colour theme: ${theme}`);
  button.title = `Colour theme: ${theme}`;
  for (const listener of listeners) listener();
}

export function mountTheme() {
  document.body.append(probe);
  const stored = localStorage.getItem(KEY) ?? "";
  let theme = ORDER.includes(stored) ? stored : "system";
  apply(theme);
  $("theme").addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    localStorage.setItem(KEY, theme);
    apply(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(theme));
}

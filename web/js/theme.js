// Light, dark, or what the system says. CSS does the work through `color-scheme`; a canvas has to be told.

import { $, icon } from "./dom.js";

const KEY = "fac.theme";
const ORDER = ["system", "light", "dark"];
const listeners = [];
const probe = document.createElement("span");

/** A colour token of style.css as the current theme computes it, e.g. `rgb(1, 2, 3)`. */
export function colour(token) {
  probe.style.color = `var(--${token})`;
  return getComputedStyle(probe).color;
}

/** Call `listener` whenever colours may have changed. */
export function onTheme(listener) {
  listeners.push(listener);
}

export function mountTheme() {
  const button = $("theme");
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(theme));
    button.title = button.ariaLabel = `Colour theme: ${theme}`;
    for (const listener of listeners) listener();
  };
  let theme = localStorage.getItem(KEY);
  if (!ORDER.includes(theme)) theme = "system";
  probe.hidden = true;
  document.body.append(probe);
  apply();
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    localStorage.setItem(KEY, theme);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
}

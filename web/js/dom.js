// Small things every view needs. Text goes in as text nodes only: nothing from outside is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} id @returns {any} the element with this id, which index.html promises to hold */
export const $ = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, any>} properties set as properties where the element has them, as attributes otherwise
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** @param {string} name of a symbol in index.html */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A copy of a template, and its parts by their `data-ref`.
 * @param {string} id
 * @returns {{fragment: DocumentFragment, root: any, refs: Record<string, any>}}
 */
export function stamp(id) {
  const fragment = $(id).content.cloneNode(true);
  const refs = Object.fromEntries([...fragment.querySelectorAll("[data-ref]")].map((n) => [n.dataset.ref, n]));
  return { fragment, root: fragment.firstElementChild, refs };
}

/** Term and description pairs for a `<dl>`; pairs without a value are left out. */
export function pairs(entries) {
  return entries
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
}

/** @param {number | null | undefined} p @returns {string} a probability as whole percent; a dash where there is none */
export const percent = (p) => (Number.isFinite(p) ? `${Math.round(p * 100)}%` : "–");

/** @param {number} seconds @returns {string} m:ss, or h:mm:ss */
export function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const tail = `${String(Math.floor(s / 60) % 60).padStart(s < 3600 ? 1 : 2, "0")}:${String(s % 60).padStart(2, "0")}`;
  return s < 3600 ? tail : `${Math.floor(s / 3600)}:${tail}`;
}

/** @param {number} value @param {number} digits @returns {string} with a true minus sign */
export const number = (value, digits = 0) => value.toFixed(digits).replace("-", "−");

/** @param {string | number | Date} when @returns {string} the reader's own time of day */
export const timeOfDay = (when) => new Date(when).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/**
 * At most one call in `ms`; the last one is never lost.
 * @template {any[]} A
 * @param {(...args: A) => void} fn
 * @param {number} ms
 */
export function throttle(fn, ms) {
  let timer = 0;
  let last = -Infinity;
  let latest;
  const run = () => {
    timer = 0;
    last = Date.now();
    fn(...latest);
  };
  return (...args) => {
    latest = args;
    if (!timer) timer = window.setTimeout(run, Math.max(0, last + ms - Date.now()));
  };
}

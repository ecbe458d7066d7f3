// Small things every view needs. Text goes in as text nodes only: nothing from outside is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element that index.html promises to hold. */
export const $ = (id) => document.getElementById(id);

/** A new element; what it knows as a property is set as one, the rest as attributes. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** One of the symbols in index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A copy of a template: its first element, and its parts by their `data-ref`. */
export function stamp(id) {
  const fragment = $(id).content.cloneNode(true);
  const refs = Object.fromEntries([...fragment.querySelectorAll("[data-ref]")].map((node) => [node.dataset.ref, node]));
  return { fragment, root: fragment.firstElementChild, refs };
}

/** Term and description for a `<dl>`; those without a value are left out. */
export function pairs(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return known.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
}

/** A probability in whole percent; a dash where there is none. */
export const percent = (p) => (Number.isFinite(p) ? `${Math.round(p * 100)}%` : "–");

/** Seconds as m:ss or h:mm:ss. */
export function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return [...(h ? [h, String(m).padStart(2, "0")] : [m]), String(s % 60).padStart(2, "0")].join(":");
}

/** With a true minus sign. */
export const number = (value, digits = 0) => value.toFixed(digits).replace("-", "−");

/** At most one call in `ms`; the last one is never lost. */
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
    timer ||= setTimeout(run, Math.max(0, last + ms - Date.now()));
  };
}

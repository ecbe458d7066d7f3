// One animation frame draws whatever changed since the last one. A hidden tab draws nothing; it keeps its socket.

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const waiting = new Set();
let asked = false;
let last = -Infinity;

function run() {
  asked = false;
  last = performance.now();
  const draws = [...waiting];
  waiting.clear();
  for (const draw of draws) draw();
}

function ask() {
  if (asked || document.hidden || !waiting.size) return;
  asked = true;
  const rest = calm.matches ? last + 1000 - performance.now() : 0;
  if (rest > 0) setTimeout(() => requestAnimationFrame(run), rest);
  else requestAnimationFrame(run);
}

document.addEventListener("visibilitychange", ask);

/** Have `draw` called in the next frame, once, however often it was asked for; once a second for who wants calm. */
export function redraw(draw) {
  waiting.add(draw);
  ask();
}

// What mattered in one window, on a canvas: its spectrum in ink, and over it the cells whose hiding changed the score.

import { number } from "./dom.js";
import { colour } from "./theme.js";

const [LEFT, BOTTOM, TOP, RIGHT] = [44, 22, 6, 6];
const TOP_HZ = 8000;
const LEAST_NATS = 0.5; // where nothing matters much, nothing is painted strong

/** The spectrum as a bitmap of its own size: ink, the more opaque the louder. */
function bitmap({ bins, frames, base64 }) {
  const canvas = new OffscreenCanvas(frames, bins);
  const g = canvas.getContext("2d");
  g.fillStyle = colour("ink");
  g.fillRect(0, 0, 1, 1);
  const [red, green, blue] = g.getImageData(0, 0, 1, 1).data;
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const image = new ImageData(frames, bins);
  for (let i = 0; i < bytes.length; i++) {
    const row = bins - 1 - Math.floor(i / frames);
    image.data.set([red, green, blue, bytes[i]], 4 * (row * frames + (i % frames)));
  }
  g.putImageData(image, 0, 0);
  return canvas;
}

export function drawSaliency(canvas, { start_s, end_s, drops, edges_hz, spectrum }) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [wide, high] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
  Object.assign(canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  const g = canvas.getContext("2d");
  g.scale(devicePixelRatio, devicePixelRatio);
  g.drawImage(bitmap(spectrum), LEFT, TOP, wide, high);
  const y = (hz) => TOP + high * (1 - hz / TOP_HZ);
  const reach = Math.max(LEAST_NATS, ...drops.flat().map(Math.abs));
  for (const [band, row] of drops.entries()) {
    for (const [column, drop] of row.entries()) {
      if (!drop) continue;
      g.fillStyle = colour(drop > 0 ? "synthetic" : "human");
      g.globalAlpha = 0.8 * Math.sqrt(Math.abs(drop) / reach);
      const left = LEFT + (column * wide) / row.length;
      g.fillRect(left, y(edges_hz[band + 1]), wide / row.length, y(edges_hz[band]) - y(edges_hz[band + 1]));
    }
  }
  g.globalAlpha = 1;
  g.fillStyle = colour("muted");
  g.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  g.textBaseline = "middle";
  g.textAlign = "right";
  for (const khz of [0, 2, 4, 6, 8]) g.fillText(`${khz} kHz`, LEFT - 5, Math.max(y(khz * 1000), 8));
  g.textAlign = "center";
  for (let i = 0; i <= 4; i++) {
    const x = LEFT + (i * wide) / 4;
    g.fillText(`${number(start_s + (i * (end_s - start_s)) / 4, 1)} s`, Math.min(x, width - 18), height - BOTTOM / 2);
  }
}

/** The same in words: the cell that mattered most. */
export function saliencyWords({ start_s, end_s, llr, drops, edges_hz }) {
  const cells = drops.flatMap((row, band) => row.map((drop, column) => ({ drop, band, column })));
  const { drop, band, column } = cells.reduce((best, cell) => ((cell.drop ?? 0) > (best.drop ?? 0) ? cell : best));
  if (!(drop > 0)) return "No part of this window spoke for a synthetic voice by itself.";
  const at = start_s + ((column + 0.5) * (end_s - start_s)) / drops[band].length;
  const [low, high] = [edges_hz[band], edges_hz[band + 1]].map((hz) => number(hz / 1000, 1));
  const fall = `the log-likelihood ratio falls from ${number(llr, 1)} to ${number(llr - drop, 1)}`;
  return `What mattered most lies at ${number(at, 1)} s, from ${low} to ${high} kHz: where it is hidden, ${fall}.`;
}

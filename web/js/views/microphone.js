// "Use this browser's microphone".

import { $, clock, percent } from "../dom.js";
import { redraw } from "../frame.js";
import { Recorder } from "../recorder.js";
import { fillMeter } from "../words.js";

const say = (words, wrong = false) => {
  $("microphone-status").textContent = words;
  $("microphone-status").classList.toggle("wrong", wrong);
};

export function mountMicrophone() {
  let peak = 0;
  const recorder = new Recorder({
    onLevel(level) {
      peak = Math.max(level, peak * 0.85);
      redraw(draw);
    },
    onEnd(wrong) {
      show(false);
      say(wrong ? `Ended: ${wrong}` : `Ended after ${clock(recorder.sentS)}.`, Boolean(wrong));
    },
  });

  const draw = () => {
    fillMeter($("microphone-level").firstElementChild, peak);
    $("microphone-level").setAttribute("aria-label", `Input level ${percent(peak)}`);
    $("microphone-time").textContent = clock(recorder.sentS);
  };

  const show = (live) => {
    $("microphone-live").hidden = $("microphone-stop").hidden = !live;
    $("microphone-start").hidden = $("microphone-hint").hidden = live;
    $("microphone-start").disabled = false;
    $(live ? "microphone-stop" : "microphone-start").focus();
    peak = 0;
    draw();
  };

  const start = async () => {
    if ($("microphone-start").disabled || $("microphone-start").hidden) return;
    $("microphone-start").disabled = true;
    say("Waiting for the browser and the daemon…");
    try {
      const id = await recorder.start();
      show(true);
      say(`On air as ${id}.`);
    } catch (error) {
      show(false);
      say(error.message, true);
    }
  };

  $("microphone-start").addEventListener("click", start);
  $("empty-microphone").addEventListener("click", start);
  $("microphone-stop").addEventListener("click", () => recorder.stop());
}

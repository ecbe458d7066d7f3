// "Use this browser's microphone".

import { $, clock, percent } from "../dom.js";
import { redraw } from "../frame.js";
import { Recorder } from "../recorder.js";

export function mountMicrophone() {
  let peak = 0;
  const recorder = new Recorder({
    onLevel(level) {
      peak = Math.max(level, peak * 0.85);
      redraw(draw);
    },
    onEnd(words, failed) {
      show(false);
      $("microphone-status").textContent = failed ? `Ended: ${words}` : `Ended after ${clock(recorder.sentS)}.`;
      $("microphone-status").classList.toggle("wrong", failed);
    },
  });

  const draw = () => {
    $("microphone-level").firstElementChild.style.transform = `scaleX(${peak})`;
    $("microphone-level").setAttribute("aria-label", `Input level ${percent(peak)}`);
    $("microphone-time").textContent = clock(recorder.sentS);
  };

  const show = (live) => {
    $("microphone-live").hidden = $("microphone-stop").hidden = !live;
    $("microphone-start").hidden = $("microphone-hint").hidden = live;
    $("microphone-start").disabled = false;
    peak = 0;
    draw();
  };

  const start = async () => {
    $("microphone-start").disabled = true;
    $("microphone-status").classList.remove("wrong");
    $("microphone-status").textContent = "Waiting for the browser and the daemon…";
    try {
      const id = await recorder.start();
      show(true);
      $("microphone-status").textContent = `On air as ${id}.`;
      $("microphone-stop").focus();
    } catch (error) {
      show(false);
      $("microphone-status").textContent = error.message;
      $("microphone-status").classList.add("wrong");
    }
  };

  $("microphone-start").addEventListener("click", start);
  $("empty-microphone").addEventListener("click", start);
  $("microphone-stop").addEventListener("click", () => {
    recorder.stop();
    $("microphone-start").hidden = false;
    $("microphone-start").focus();
  });
}

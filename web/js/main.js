// Wires the socket to the store and the store to the views.

import { openSocket } from "./api.js";
import { catchUp, loadTimeline } from "./history.js";
import { EventSocket } from "./socket.js";
import { Store } from "./store.js";
import { mountTheme } from "./theme.js";
import { mountAlert } from "./views/alert.js";
import { mountAlerts } from "./views/alerts.js";
import { mountCalls } from "./views/calls.js";
import { mountMicrophone } from "./views/microphone.js";
import { mountPlots } from "./views/plots.js";
import { loadModel, mountStatus, mountUnlock, showPhase } from "./views/status.js";
import { mountUpload } from "./views/upload.js";

const store = new Store();
mountTheme();
mountUnlock();
mountStatus(store);
mountCalls(store, (call) => loadTimeline(store, call));
mountAlerts(store);
mountAlert(store);
mountUpload(store);
mountMicrophone();
mountPlots();

new EventSocket({
  open: () => openSocket("ws/events"),
  probe: loadModel,
  onPhase: showPhase,
  onEvent(event, fresh) {
    store.apply(event);
    if (fresh) catchUp(store);
  },
}).start();

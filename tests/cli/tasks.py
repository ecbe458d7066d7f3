"""What worker processes do in tests; here, so that they can import it."""

import os
import signal
import time
from pathlib import Path


def measure(path):
    """The file's name and the process; dies, waits or fails where its text says so."""
    text = Path(path).read_text(encoding="utf-8")
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "hang":
        time.sleep(600)
    if text == "fail":
        raise RuntimeError("the model is broken")
    return {"path": path, "process": os.getpid()}

"""What scored: all that the last bits of a score depend on, beside the bundle and the samples."""

import platform
from importlib.metadata import version
from pathlib import Path

from fac_stream.evidence.record import Backend
from fac_stream.scoring.base import Scorer

PACKAGES = {"onnx": "onnxruntime", "torch": "torch"}
CPUINFO = Path("/proc/cpuinfo")


def backend_of(scorer: Scorer, threads: int) -> Backend:
    """Of an open scorer that was given so many threads."""
    package = PACKAGES[scorer.backend]
    return Backend.model_validate(
        {
            "name": scorer.backend,
            "device": scorer.device,
            "threads": threads,
            "runtime": f"{package} {version(package)}",
            "processor": _processor(),
        }
    )


def _processor() -> str:
    """The processor's name: another one has other instructions, which round in another order."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

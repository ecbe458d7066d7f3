"""Scoring with torch: on a GPU, or on CPU where a bundle has no ONNX graph."""

import torch

from fac_model.bundle import Bundle, BundleError
from fac_model.detector import Detector
from fac_stream.audio.frames import Samples
from fac_stream.errors import ScorerError
from fac_stream.scoring.base import Scores, scores_of

SLICE = {"cpu": 8, "cuda": 64}
"""Windows a run, which bounds the memory of a batch however large it is."""


class TorchScorer:
    """Scores with ``fac_model.detector``."""

    backend = "torch"

    def __init__(self, bundle: Bundle, device: str, threads: int) -> None:
        """Build the network on ``cpu`` or ``cuda``; on CPU, ``threads`` are set for the whole process.

        Raises:
            ScorerError: there is no such device, or the bundle's network cannot be built.
        """
        if device == "cuda" and not cuda_is_available():
            raise ScorerError(
                "no CUDA device that torch can use: set model.device: cpu, or install a CUDA torch"
            )
        if device == "cpu":
            torch.set_num_threads(threads)
        self.model = bundle.model_id
        self.version = bundle.manifest.version
        self.device = device
        self.calibration = bundle.manifest.calibration
        self.tables = bundle.manifest.decision
        self._manifest = bundle.manifest
        try:
            self._detector = Detector.load(bundle, device)
        except (BundleError, RuntimeError) as error:
            raise ScorerError(f"the model cannot be loaded on {device}: {error}") from error

    def score(self, windows: Samples) -> Scores:
        """Score float32 ``[B, 32000]``.

        Raises:
            ScorerError: torch failed, or its answer is none.
        """
        size = SLICE[self.device]
        try:
            logits = [self._detector.logits(windows[i : i + size]) for i in range(0, len(windows), size)]
        except (RuntimeError, ValueError) as error:
            raise ScorerError(f"torch failed on {len(windows)} windows on {self.device}: {error}") from error
        return scores_of(self._manifest, logits, windows)


def cuda_is_available() -> bool:
    """Whether torch can use a GPU of this machine."""
    return torch.cuda.is_available()

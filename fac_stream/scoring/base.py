"""What the batcher and the calls need of a scorer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fac_model.bundle import BundleManifest
from fac_model.calibration import Calibration
from fac_model.decision import DecisionTables
from fac_model.quality import measure
from fac_stream.audio.frames import Samples
from fac_stream.errors import ScorerError
from fac_stream.events import SkipReason


@dataclass(frozen=True, slots=True)
class Scores:
    """What a bundle says about a batch of windows."""

    synthetic: Samples
    """Calibrated probabilities of synthetic speech, float32 ``[B]``."""
    speech: Samples | None
    """Probabilities that there is speech at all, float32 ``[B]``; None where the network does not tell."""
    quality: list[list[str]]
    """For each window, in what it leaves the range that the bundle was calibrated on."""
    runs: list[int]
    """With how many windows, itself included, each went through the network: on CPU its score's last bits
    depend on whether it was alone, and on nothing else of its company."""


class Scorer(Protocol):
    """Scores batches of windows. Used from one thread at a time; stateless between calls."""

    @property
    def model(self) -> str:
        """Name and short hash of the bundle, as events carry it."""

    @property
    def version(self) -> str:
        """The version that the bundle gives itself."""

    @property
    def backend(self) -> str:
        """``onnx`` or ``torch``, as ``model.backend`` names it."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""

    @property
    def calibration(self) -> Calibration:
        """The bundle's; scores are calibrated already, calls are not."""

    @property
    def tables(self) -> DecisionTables | None:
        """How the bundle's windows add up to a decision; None where it does not say."""

    def score(self, windows: Samples) -> Scores:
        """Score float32 ``[B, 32000]``, at least one window.

        Raises:
            ScorerError: the backend failed, or returned values that are not finite.
        """


def scores_of(manifest: BundleManifest, logits: Sequence[Samples], windows: Samples) -> Scores:
    """Calibrated by the channel of each window.

    Args:
        manifest: of the bundle whose network it was.
        logits: of each run of the network, float32 ``[n, outputs]``.
        windows: float32 ``[B, 32000]`` that they are for.

    Raises:
        ScorerError: a logit is missing or is not finite.
    """
    every = np.concatenate(logits)
    expected = (len(windows), len(manifest.outputs))
    if every.shape != expected:
        raise ScorerError(f"the scorer answered {list(every.shape)}, not {list(expected)}")
    if not np.isfinite(every).all():
        raise ScorerError("the scorer answered with values that are not finite")
    calibration, quality = manifest.calibration, measure(windows)
    speech = calibration.speech
    return Scores(
        synthetic=calibration.probability(every[:, 0], quality.telephone),
        speech=None if speech is None else speech.probability(every[:, 1]),
        quality=manifest.quality.flags(quality) if manifest.quality else [[] for _ in windows],
        runs=[len(run) for run in logits for _ in run],
    )


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """What one window said: exactly one of ``score`` and ``skipped`` is None."""

    score: float | None
    skipped: SkipReason | None
    speech_s: float
    level_dbfs: float | None
    """RMS; None for digital silence or where it was not measured."""
    quality: tuple[str, ...] = ()
    """In what a scored window leaves the range that the bundle was calibrated on."""
    run: int = 0
    """With how many windows a scored one went through the network, see ``Scores.runs``."""

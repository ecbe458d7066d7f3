"""Stand-ins with a behaviour one can predict, for tests of what lies around them."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fac_model.calibration import Calibration
from fac_model.decision import Curves, DecisionTables
from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding, Frame, Samples, Window
from fac_stream.errors import ScorerError
from fac_stream.events import Decision, DecisionChanged, WindowScored
from fac_stream.scoring.base import Scores

WINDOW = 2 * SAMPLE_RATE
FAINT = 0.01
"""Peak below which ``FakeScorer`` calls a window quiet."""


def tone(seconds: float, hertz: float = 440.0, amplitude: float = 0.3, rate: int = SAMPLE_RATE) -> Samples:
    """A sine, float32 ``[n]``."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def window_of(
    samples: Samples, *, leg: str = "mixed", index: int = 0, received_at: float | None = None
) -> Window:
    """A window of ``samples``, repeated or cut to two seconds; received now unless said otherwise."""
    at = time.monotonic() if received_at is None else received_at
    return Window(leg, index, index * SAMPLE_RATE // 2, np.resize(samples, WINDOW), at)


def scored_at(score: float, seconds: float = 2.0, rate: int = SAMPLE_RATE) -> Samples:
    """A tone that ``FakeScorer`` gives ``score`` (0 to 1), float32 ``[n]``: 500 Hz is 0, 2500 Hz is 1."""
    return tone(seconds, 500.0 + 2000.0 * score, rate=rate)


_CURVES = Curves(alarm=((1.0, 1.5), (1000.0, 1.4)), human=((0.01, 1.6), (0.5, 1.4)))
TABLES = DecisionTables(
    shrink=1.0, alarm_reference=0.5, human_reference=0.5, wideband=_CURVES, telephone=_CURVES, mixed=_CURVES
)
"""One window of what is clearly one or the other decides: tests are short."""


class FakeScorer:
    """Scores a window by its dominant frequency, see ``scored_at``; silence scores 0, faint ones are quiet.

    Args:
        on_score: called with each batch in the scoring thread, before it is scored: block in it, or raise.
    """

    model = "fake@00000000"
    version = "0"
    backend = "onnx"
    device = "cpu"
    calibration = Calibration(prior_windows=0.0)
    tables = TABLES

    def __init__(self, on_score: Callable[[Samples], None] | None = None) -> None:
        self.batches: list[int] = []
        self._on_score = on_score

    def score(self, windows: Samples) -> Scores:
        """Score float32 ``[B, 32000]``."""
        batch, length = windows.shape
        assert length == WINDOW
        assert windows.dtype == np.float32
        if self._on_score:
            self._on_score(windows)
        self.batches.append(batch)
        peaks = np.abs(np.fft.rfft(windows, axis=1)).argmax(axis=1) / 2.0  # Hertz: two seconds
        scores = np.clip((peaks - 500.0) / 2000.0, 0.0, 1.0).astype(np.float32)
        return Scores(
            scores,
            None,
            [["quiet"] if peak < FAINT else [] for peak in np.abs(windows).max(axis=1)],
            [batch] * batch,
        )


class FailingScorer(FakeScorer):
    """Raises ``ScorerError`` while ``broken`` is set."""

    def __init__(self) -> None:
        super().__init__(self._fail)
        self.broken = True

    def _fail(self, windows: Samples) -> None:
        if self.broken:
            raise ScorerError("the fake scorer is broken")


class BlockedScorer(FakeScorer):
    """Holds every batch until ``release`` is set; ``entered`` says that one is being held."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.entered = threading.Event()
        self.release = threading.Event()

    def _wait(self, windows: Samples) -> None:
        self.entered.set()
        assert self.release.wait(30), "the test never released the scorer"


class FakeGate:
    """A speech gate that takes every window that is not digital silence for two seconds of speech."""

    def speech_s(self, windows: Samples) -> Samples:
        """Float32 ``[B, 32000]`` to seconds ``[B]``."""
        return np.where(np.abs(windows).max(axis=1) > 0, np.float32(2.0), np.float32(0.0))


@dataclass
class ScriptedSource:
    """A source of given samples ``[n, legs]`` or ``[n]`` in frames of ``frame_s``, as fast as they are read.

    ``before(i)`` is awaited before frame ``i``: wait in it, or raise what a source may raise. ``drop`` names
    frames that are left out, which makes gaps.
    """

    samples: Samples
    call_id: str = "call-1"
    kind: str = "websocket"
    live: bool = False
    legs: tuple[str, ...] = ("mixed",)
    sample_rate: int = SAMPLE_RATE
    encoding: Encoding = Encoding.PCM_S16LE
    frame_s: float = 0.02
    drop: Sequence[int] = ()
    before: Callable[[int], Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> AudioFormat:
        """How the frames are to be read."""
        return AudioFormat(self.sample_rate, self.encoding, self.legs)

    async def frames(self) -> AsyncIterator[Frame]:
        """All frames in order."""
        samples = self.samples.reshape(-1, len(self.legs))
        step = round(self.frame_s * self.sample_rate)
        for i, start in enumerate(range(0, len(samples), step)):
            if self.before:
                await self.before(i)
            if i not in self.drop:
                yield Frame(start, encode(samples[start : start + step], self.encoding), time.monotonic())


def a_score(index: int = 0, leg: str = "caller", call_id: str = "c1") -> WindowScored:
    """An event that may be thinned out."""
    return WindowScored(
        call_id=call_id,
        leg=leg,
        index=index,
        start_s=0.0,
        end_s=2.0,
        score=0.5,
        speech_s=1.0,
        decision=Decision.UNKNOWN,
        model=FakeScorer.model,
    )


def a_decision(leg: str = "caller", call_id: str = "c1", model: str = FakeScorer.model) -> DecisionChanged:
    """An event that may not be dropped."""
    return DecisionChanged(
        call_id=call_id,
        leg=leg,
        previous=Decision.UNKNOWN,
        decision=Decision.SYNTHETIC,
        at_s=2.0,
        smoothed=0.9,
        speech_s=2.0,
        model=model,
    )

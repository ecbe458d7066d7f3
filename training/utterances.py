"""What the daemon would say of every window of every clip: gated, scored and calibrated as in a call."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding, Frame, Window
from fac_stream.audio.windows import MIN_SEGMENT, WindowCutter
from fac_stream.calls.decision import log_odds
from fac_stream.scoring.base import WindowVerdict
from fac_stream.scoring.judge import Judge
from training.channel import CONDITIONS
from training.dataset import Corpus
from training.manifest import Clip
from training.pcm import FRAME, active_frames, to_float

HOP_S = 0.5
BATCH = 64
FORMAT = AudioFormat(SAMPLE_RATE, Encoding.PCM_F32LE, ("mixed",))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Utterance:
    """A clip in one condition, as the decision on a leg sees it: ``[n]`` windows a hop apart."""

    clip: Clip
    condition: str
    scores: Floats
    """Probabilities of synthetic speech; NaN where the gate heard no speech."""
    new_s: Floats
    """Seconds that a window adds to those before it: the first one its length, the others a hop."""
    speech_s: Floats
    """Seconds of speech in the window."""
    span_s: Floats
    """Length of the window; a clip shorter than two seconds has one, as long as itself."""
    active_s: Floats
    """Seconds of it within 30 dB of the clip's loud parts, before any channel: what should be speech."""

    @property
    def voice(self) -> str:
        """Who speaks: the speaker, else the generator, of a source."""
        clip = self.clip
        return f"{clip.label} {clip.source} {clip.generator} {clip.speaker}"

    @cached_property
    def evidence(self) -> tuple[Floats, Floats]:
        """Of the scored windows ``[k]``: bounded log-odds, and seconds of speech that were new."""
        kept = ~np.isnan(self.scores)
        new_speech_s = self.speech_s * np.minimum(self.new_s, self.span_s) / self.span_s
        return np.array([log_odds(score) for score in self.scores[kept]]), new_speech_s[kept]

    @property
    def maker(self) -> str:
        """Where it comes from: the source and, for a synthetic one, its generator."""
        return f"{self.clip.label} {self.clip.source} {self.clip.generator}"


def utterances(
    judge: Judge, corpus: Corpus, condition: str, tell: Callable[[int], None] = lambda _: None
) -> list[Utterance]:
    """All clips of half a second and more, heard once over one channel.

    Args:
        judge: the daemon's gate and scorer.
        corpus: whose clips.
        condition: a key of ``training.channel.CONDITIONS``.
        tell: called with the number of clips that were begun.

    Raises:
        ScorerError: the gate or the model failed.
    """
    found: list[Utterance] = []
    waiting: list[tuple[int, list[Window]]] = []

    def settle() -> None:
        verdicts = iter(judge.judge([window for _, windows in waiting for window in windows]).verdicts)
        for number, windows in waiting:
            said = [next(verdicts) for _ in windows]
            found.append(_utterance(corpus, number, condition, windows, said))
        waiting.clear()

    for number, windows in _cut(corpus, condition):
        waiting.append((number, windows))
        if sum(len(each) for _, each in waiting) >= BATCH:
            settle()
            tell(number + 1)
    if waiting:
        settle()
    return found


def _cut(corpus: Corpus, condition: str) -> Iterator[tuple[int, list[Window]]]:
    channel = CONDITIONS[condition]
    for number in range(len(corpus.clips)):
        samples = to_float(corpus.pcm[number])
        if len(samples) >= MIN_SEGMENT:
            cutter = WindowCutter(FORMAT, HOP_S)
            sent = np.ascontiguousarray(channel(samples), "<f4")
            yield number, cutter.push(Frame(0, sent.tobytes(), 0.0)) + cutter.flush()


def _utterance(
    corpus: Corpus, number: int, condition: str, windows: Sequence[Window], said: Sequence[WindowVerdict]
) -> Utterance:
    starts, ends = np.array([(window.start_s, window.end_s) for window in windows]).T
    active = np.append(0, np.cumsum(active_frames(corpus.pcm[number])))
    first, last = (
        np.minimum(np.rint(at * SAMPLE_RATE / FRAME).astype(int), len(active) - 1) for at in (starts, ends)
    )
    return Utterance(
        clip=corpus.clips[number],
        condition=condition,
        scores=np.array([np.nan if verdict.score is None else verdict.score for verdict in said]),
        new_s=np.diff(ends, prepend=0.0),
        speech_s=np.array([verdict.speech_s for verdict in said]),
        span_s=ends - starts,
        active_s=(active[last] - active[first]) * FRAME / SAMPLE_RATE,
    )

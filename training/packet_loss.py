"""Packets that do not arrive: which ones, and what a receiver plays in their place."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.rows import by_row

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Loss:
    """A lossy line: Gilbert's channel, whose bad state loses every packet and whose good state none.

    E. N. Gilbert, "Capacity of a burst-noise channel", 1960.
    """

    frame_ms: int
    """Milliseconds of sound in a packet."""
    share: float
    """Share of the packets that is lost in the long run, below 1."""
    burst: float
    """Mean number of packets lost in a row; ``1 / (1 - share)`` makes the losses independent."""
    seed: int
    concealed: bool = True
    """Whether our own receiver fills the holes; else there is silence. Opus and AMR use their own."""

    def lost(self, count: int) -> Flags:
        """Which of so many packets are missing, bool ``[count]``."""
        dice = np.random.default_rng(self.seed).random(count)
        leave = 1.0 / self.burst
        enter = leave * self.share / (1.0 - self.share)
        states = np.zeros(count, np.bool_)
        for number, thrown in enumerate(dice):
            if number == 0:
                states[number] = thrown < self.share
            else:
                states[number] = thrown >= leave if states[number - 1] else thrown < enter
        return states


@dataclass(frozen=True, slots=True)
class PacketLoss:
    """Packets lost one by one or in bursts, of a line without a codec."""

    frames_ms: tuple[int, ...] = (10, 20, 40)
    share: tuple[float, float] = (0.01, 0.2)
    burst: tuple[float, float] = (1.5, 4.0)
    bursty: float = 0.5
    """Chance of bursts; else the losses are independent."""
    concealed: float = 0.8
    """Chance that the receiver conceals."""

    def draw(self, rng: np.random.Generator) -> Loss:
        """Packet length, rate and pattern."""
        frame = self.frames_ms[rng.integers(len(self.frames_ms))]
        share = float(rng.uniform(*self.share))
        burst = float(rng.uniform(*self.burst)) if rng.random() < self.bursty else 1.0 / (1.0 - share)
        return Loss(frame, share, burst, int(rng.integers(2**31)), bool(rng.random() < self.concealed))

    def apply(self, samples: Samples, parameters: Loss) -> Samples:
        """What is heard at 16 kHz; all rows of a batch lose the same packets."""
        return by_row(samples, lambda row: receive(row, parameters, SAMPLE_RATE))


def receive(samples: Samples, loss: Loss, rate: int) -> Samples:
    """Float32 ``[n]`` at ``rate`` Hertz after a lossy line, ``[n]``."""
    frame = rate * loss.frame_ms // 1000
    lost = loss.lost(-(-len(samples) // frame))
    if not loss.concealed:
        heard: Samples = np.where(np.repeat(lost, frame)[: len(samples)], np.float32(0.0), samples)
        return heard
    heard = samples.copy()
    edges = np.flatnonzero(np.diff(np.concatenate(([False], lost, [False])).astype(np.int8)))
    for first, end in edges.reshape(-1, 2) * frame:
        _conceal(heard, int(first), min(int(end), len(samples)), rate)
    return heard


def _conceal(heard: Samples, first: int, end: int, rate: int) -> None:
    """Fill ``heard[first:end]`` in place by repeating the last pitch period, after ITU-T G.711 Appendix I.

    As there: pitch between 66 and 200 Hz by correlation, overlaps of a quarter of a period at the seams
    (longer at the end of a long hole), level falling by a fifth every 10 ms after the first 10, silence after
    60 ms. Unlike there, a long hole repeats one period throughout, not up to three.
    """
    longest = rate * 15 // 1000
    past = heard[max(0, first - 3 * longest) : first].copy()
    if len(past) < 3 * longest:
        heard[first:end] = 0.0
        return
    period = _period(past, rate)
    seam = period // 4
    rise = np.linspace(0.0, 1.0, seam, dtype=np.float32)
    # The end of the period runs into what preceded its start: so that it can follow upon itself.
    past[-seam:] += rise * (past[-period - seam : -period] - past[-seam:])
    heard[first - seam : first] = past[-seam:]
    more = rate * 4 // 1000 * max(0, (end - first) * 100 // rate - 1)
    back = min(seam + more, rate // 100, len(heard) - end)
    time = np.arange(end - first + back, dtype=np.float32) / np.float32(rate)
    filled = np.resize(past[-period:], len(time)) * np.clip(1.2 - 20.0 * time, 0.0, 1.0)
    heard[first:end] = filled[: end - first]
    rise = np.linspace(0.0, 1.0, back, dtype=np.float32)
    heard[end : end + back] = rise * heard[end : end + back] + (1.0 - rise) * filled[end - first :]


def _period(past: Samples, rate: int) -> int:
    """Samples of the lag from 5 to 15 ms at which the last 20 ms are most like what came before."""
    recent = past[-rate // 50 :]
    lags = np.arange(rate // 200, rate * 15 // 1000 + 1)
    before = np.lib.stride_tricks.sliding_window_view(past, len(recent))[len(past) - len(recent) - lags]
    likeness = before @ recent / np.sqrt(np.square(before).sum(axis=1) + 1e-9)
    return int(lags[likeness.argmax()])

"""Which recordings are the same: exactly, or but for level, codec and a little noise."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.errors import AudioError
from training.pcm import Pcm, speech_of, to_float, to_int16
from training.vocoder import mel_filters, stft

BANDS, PARTS = 16, 16
"""Frequencies and times that a print has."""
LIKENESS = 0.9
"""Cosine of two prints. Measured on 86 human clips: above 0.99 after Opus or MP3, above 0.93 with noise 20 dB
below or a start 20 ms later; at most 0.57 for two of the same length."""
NEIGHBOURS = 20_000
"""Recordings of about its length that one is compared with at most."""
BATCH = 256
"""Recordings under way at once."""

Print = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """What is known of one file after listening to it."""

    seconds: float = 0.0
    """Of speech: without the silence before and after."""
    digest: str = ""
    """Of the decoded samples."""
    moves: Print | None = None
    """``[BANDS * PARTS]``, of length 1; None for a sound without change."""
    fault: str = ""
    """Why it cannot be used; the rest is empty then."""


def listen(paths: Sequence[Path]) -> Iterator[Sound]:
    """Decode every file, several at once; one ``Sound`` for each path, in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, len(paths), BATCH):
            yield from pool.map(_listen, paths[first : first + BATCH])


def _listen(path: Path) -> Sound:
    try:
        pcm = to_int16(speech_of(path))
    except AudioError as error:
        return Sound(fault=str(error))
    digest = hashlib.sha256(pcm.tobytes()).hexdigest()[:24]
    return Sound(len(pcm) / SAMPLE_RATE, digest, print_of(pcm))


def print_of(pcm: Pcm) -> Print | None:
    """How the level of each band moves over the recording: level and long-term spectrum are taken out."""
    power = np.abs(stft(to_float(pcm), 512, 128)) ** 2
    bands = power @ mel_filters(BANDS, 512, SAMPLE_RATE)[0].T
    edges = np.linspace(0, len(bands), PARTS + 1).astype(int)
    parts = np.stack([bands[a:b].mean(axis=0) for a, b in itertools.pairwise(edges)])
    moves = np.log(parts + 1e-3 * parts.mean() + 1e-12)
    moves = (moves - moves.mean(axis=0)).reshape(-1)
    length = float(np.linalg.norm(moves))
    return (moves / length).astype(np.float32) if length > 1e-3 else None


def alike(sounds: Sequence[Sound]) -> Iterator[tuple[int, int]]:
    """Numbers of recordings that are nearly the same, the shorter first, but not exactly.

    Recordings are compared with those that are at most 2 % and 40 ms longer.
    """
    first_of = {sound.digest: number for number, sound in reversed(list(enumerate(sounds)))}
    known = [(sounds[number].seconds, number) for number in first_of.values()]
    order = [(seconds, number) for seconds, number in sorted(known) if sounds[number].moves is not None]
    lengths = np.array([seconds for seconds, _ in order])
    prints = [np.asarray(sounds[number].moves) for _, number in order]
    longest = 1.02 * lengths + 0.04
    for first in range(0, len(order), BATCH):
        last = min(first + BATCH, len(order))
        end = min(int(np.searchsorted(lengths, longest[last - 1], "right")), first + NEIGHBOURS)
        likeness = np.stack(prints[first:last]) @ np.stack(prints[first:end]).T
        for a, b in zip(*np.nonzero(np.triu(likeness > LIKENESS, 1)), strict=True):
            if lengths[first + b] <= longest[first + a]:
                yield order[first + a][1], order[first + b][1]

"""Copies: fakes made from human recordings, which share words, level, band and pauses with their original.

What is left to tell the two apart is the vocoder's trace. Such fakes train a detector about as well as those
of real systems (Wang and Yamagishi 2023).
"""

import hashlib
import itertools
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import ConfigError, FacError
from training.manifest import Clip, Label
from training.pcm import FRAME, Pcm, PcmCache, active_frames, default_cache_dir, to_float
from training.synthesis import MIN_SAMPLES, WHOLE, Band, Engine, Phase
from training.vocoder import istft, stft

ENGINES: dict[str, Engine[Any]] = {**WHOLE, "phase": Phase(), "band": Band()}
PIECE = 60 * SAMPLE_RATE
"""A longer recording is copied in pieces of at most so many samples: spectrograms are kept in memory."""
ROUNDS = 4
"""Of levelling and limiting: each disturbs the other, less every time."""

COPIES_VERSION = 1
"""Raised with every change that makes other copies: those on disk are then made anew."""
CHUNK = 16
"""Copies that a process makes before it reports back."""

Floats = npt.NDArray[Any]


def copy(pcm: Pcm, engine: str, rng: np.random.Generator) -> Pcm:
    """Another voice machine's version of a recording, int16 ``[n]`` at 16 kHz.

    Length, place in time, level (RMS within 0.1 dB), long-term spectrum and digital silence are the
    original's; with probability one half also its pauses.

    Args:
        pcm: int16 ``[n]``, ``n`` at least 1.
        engine: a name in ``ENGINES``.
        rng: where the parameters are drawn from.

    Raises:
        KeyError: there is no such engine.
    """
    parameters = ENGINES[engine].draw(rng)
    keep_pauses = bool(rng.random() < 0.5)
    pieces = np.array_split(pcm, -(-len(pcm) // PIECE))
    return np.concatenate([_copy(piece, engine, parameters, keep_pauses=keep_pauses) for piece in pieces])


def _copy(pcm: Pcm, engine: str, parameters: Any, *, keep_pauses: bool) -> Pcm:
    if not pcm.any():
        return pcm.copy()
    target = to_float(pcm)
    padded = np.pad(target, (0, max(0, MIN_SAMPLES - len(pcm))))
    made = ENGINES[engine].apply(padded, parameters)[: len(pcm)]
    # Vocoders' pulses are one-sided and high; what limiting them adds above an empty band's edge is filtered
    # out again.
    made = made * np.sign(np.mean(made**3) * np.mean(target**3) + 1e-30)
    for _ in range(ROUNDS):
        made = _limit(levelled(match_spectrum(made, target), target), target)
    return _finish(match_spectrum(made, target), pcm, keep_pauses=keep_pauses)


def match_spectrum(made: Samples, original: Samples) -> Samples:
    """Filter float32 ``[n]`` to the long-term spectrum of another, smoothed over 100 Hz.

    A band that is empty in the original is empty in the copy, and no slope tells the two apart.
    """
    n_fft, hop, floor = 1024, 256, 1e-7
    spectrum = stft(made, n_fft, hop)
    power = [np.mean(np.abs(x) ** 2, axis=0) + floor for x in (stft(original, n_fft, hop), spectrum)]
    difference = np.log(power[0] / power[1])
    weights = np.hanning(15)[1:-1]
    difference = np.convolve(np.pad(difference, 6, "edge"), weights / weights.sum(), "valid")
    # 20 dB more at most, so that nothing is made of rounding errors; less without end.
    gain = np.exp(0.5 * np.minimum(difference, 4.6)).astype(np.float32)
    return istft(spectrum * gain, n_fft, hop, len(made))


def _finish(made: Samples, pcm: Pcm, *, keep_pauses: bool) -> Pcm:
    """Pauses, clipping and level of the original."""
    target = pcm.astype(np.float32)
    made = levelled(made - made.mean(), target)
    pause = ~active_frames(pcm)
    # Nearly all pause, and the copy would be the original.
    keep_pauses = keep_pauses and bool(pause.mean() < 0.5)
    if not keep_pauses:
        made *= _pause_gain(made, target, pause)
    silent = _still(pcm == 0)
    natural = silent | _still(np.rint(made) == 0) | (keep_pauses & np.repeat(pause, FRAME)[: len(pcm)])
    fade = np.hanning(FRAME // 2 + 2)[1:-1]
    share = np.convolve(np.pad(natural, len(fade) // 2, "edge"), fade / fade.sum(), "same")
    share = np.clip(share[len(fade) // 2 :][: len(pcm)], 0.0, 1.0).astype(np.float32)
    share[silent] = 1.0
    mixed = share * target + (1.0 - share) * (made + target.mean())
    peak = np.max(np.abs(target)) if _is_clipped(target) else np.float32(32768.0)
    for _ in range(ROUNDS):
        mixed = np.clip(levelled(mixed, target), -peak, peak)
    rounded: Pcm = np.clip(np.rint(mixed), -32768, 32767).astype(np.int16)
    return rounded


def _pause_gain(made: Samples, target: Samples, pause: npt.NDArray[np.bool_]) -> Samples:
    """What brings the pauses' level to the original's, frame by frame: vocoders smear speech into them."""
    gain = np.where(pause, np.minimum(frame_rms(target) / (frame_rms(made) + 1e-3), 4.0), 1.0)
    return interpolated(gain, len(made))


def frame_rms(samples: Samples) -> Floats:
    """Level of each 20 ms, ``[ceil(n / 320)]``; the last is filled up with silence."""
    frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    level: Floats = np.sqrt(np.mean(np.square(frames), axis=1))
    return level


def interpolated(gain: Floats, n: int) -> Samples:
    """From a gain for each 20 ms to one for each sample, float32 ``[n]``, straight between their centres."""
    centres = np.arange(len(gain)) * FRAME + FRAME // 2
    return np.interp(np.arange(n), centres, gain).astype(np.float32)


def _limit(samples: Samples, target: Samples) -> Samples:
    """No peak above the original's: what exceeds 0.7 of it is pressed together."""
    peak, loudest = np.max(np.abs(target)), np.max(np.abs(samples))
    if loudest <= peak:
        return samples
    over = np.maximum(np.abs(samples) - 0.7 * peak, 0.0) * ((loudest - peak) / (loudest - 0.7 * peak))
    pressed: Samples = samples - np.copysign(over, samples)
    return pressed


def _is_clipped(samples: Samples) -> bool:
    """Whether more samples than chance explains are as loud as the loudest."""
    loud = np.abs(samples)
    return bool(np.count_nonzero(loud >= 0.999 * loud.max()) > 1e-4 * len(samples) + 2)


def levelled(samples: Samples, target: Samples) -> Samples:
    """Float32 ``[n]`` as loud as the target, RMS over the whole."""
    return samples * np.float32(_rms(target) / (_rms(samples) + 1e-12))


def _still(quiet: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which samples lie in a 10 ms frame that is quiet throughout, bool ``[n]``."""
    frame = FRAME // 2
    frames = np.pad(quiet, (0, -len(quiet) % frame), constant_values=True).reshape(-1, frame)
    return np.repeat(frames.all(axis=1), frame)[: len(quiet)]


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@dataclass(frozen=True, slots=True)
class Task:
    """A copy to be made: of what, how, and where it goes."""

    pcm: Pcm
    engine: str
    seed: tuple[int, ...]
    path: Path


class CopyStore:
    """``store(clip, engine, variant)`` is a copy of that clip, int16 ``[n]``, read from disk when touched.

    A copy's file is named by a hash of the original's name and samples: only what no training before needed
    is made, and a rendering that was killed goes on where it was.
    """

    def __init__(self, folder: Path, keys: dict[int, str]) -> None:
        self._folder = folder
        self._keys = keys

    def __call__(self, clip: int, engine: str, variant: int) -> Pcm:
        """One copy of a human clip; KeyError for a clip that is none."""
        return np.memmap(_path(self._folder, self._keys[clip], engine, variant), np.int16, "r")

    @classmethod
    def of(
        cls,
        clips: Sequence[Clip],
        pcm: PcmCache,
        engines: Collection[str],
        variants: int,
        *,
        seed: int = 0,
        folder: Path | None = None,
        processes: int | None = None,
    ) -> "CopyStore":
        """Open the copies of all human clips, making first those that are missing.

        Args:
            clips: the clips of both classes, or more.
            pcm: their speech, number by number.
            engines: names in ``ENGINES``.
            variants: copies of a clip by each engine, with other parameters each.
            seed: of the parameters, together with the clip's name, the engine and the variant; trainings with
                the same one share their copies.
            folder: the cache; ``training.pcm.default_cache_dir()`` unless given.
            processes: that render; as many as there are processors unless given.

        Raises:
            ConfigError: an engine is unknown.
            FacError: the disk has too little room.
        """
        if unknown := set(engines) - set(ENGINES):
            raise ConfigError(f"no copy engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
        folder = (folder or default_cache_dir()) / "copies"
        folder.mkdir(parents=True, exist_ok=True)
        human = [number for number, clip in enumerate(clips) if clip.label == Label.REAL]
        keys = {number: _key(clips[number].name, pcm[number], seed) for number in human}
        missing = [
            (number, engine, variant)
            for number, engine, variant in itertools.product(human, sorted(engines), range(variants))
            if not _path(folder, keys[number], engine, variant).is_file()
        ]
        _check_room(folder, sum(2 * len(pcm[number]) for number, _, _ in missing))
        tasks = (
            Task(
                pcm[number],
                engine,
                (seed, zlib.crc32(clips[number].name.encode()), zlib.crc32(engine.encode()), variant),
                _path(folder, keys[number], engine, variant),
            )
            for number, engine, variant in missing
        )
        _render(tasks, len(missing), processes or os.cpu_count() or 1)
        return cls(folder, keys)


def _key(name: str, pcm: Pcm, seed: int) -> str:
    digest = hashlib.blake2b(f"{COPIES_VERSION} {seed} {name}\0".encode(), digest_size=12)
    digest.update(np.ascontiguousarray(pcm).data)
    return digest.hexdigest()


def _path(folder: Path, key: str, engine: str, variant: int) -> Path:
    return folder / key[:2] / f"{key}-{engine}-{variant}.pcm"


def _check_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > 0.9 * free:
        raise FacError(
            f"the copies need {wanted / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free;"
            " set FAC_CACHE to a folder with more room, or ask for fewer engines or copy_variants"
        )


def _render(tasks: Iterable[Task], count: int, processes: int) -> None:
    """Make and write copies. No more tasks are handed out than the processes have in hand."""
    if not count:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("copies", total=count)
        for done in _rendered(_chunks(iter(tasks)), min(processes, -(-count // CHUNK))):
            progress.advance(bar, done)


def _chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while chunk := list(itertools.islice(tasks, CHUNK)):
        yield chunk


def _rendered(chunks: Iterator[list[Task]], processes: int) -> Iterator[int]:
    """Numbers of copies as they are finished."""
    if processes == 1:
        yield from map(_make, chunks)
        return
    # Forking a process that has threads, as torch has, can leave a lock taken for ever.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=os.nice, initargs=(10,)) as pool:
        under_way: set[Future[int]] = set()
        try:
            for chunk in chunks:
                under_way.add(pool.submit(_make, chunk))
                if len(under_way) >= 2 * processes:
                    finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            yield from (future.result() for future in under_way)
        finally:
            pool.shutdown(cancel_futures=True)


def _make(chunk: list[Task]) -> int:
    """A copy is moved into place whole: what is there can be trusted."""
    for task in chunk:
        task.path.parent.mkdir(exist_ok=True)
        part = task.path.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(copy(task.pcm, task.engine, np.random.default_rng(task.seed)).tobytes())
            part.replace(task.path)
        finally:
            part.unlink(missing_ok=True)
    return len(chunk)

"""Decoded speech: every clip once as int16 at 16 kHz, cut to speech, in one memory-mapped cache file.

Leading and trailing silence differs between human and machine-made recordings; a network must not see it.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import AudioError, DecodeError
from training.manifest import Clip

WINDOW = 2 * SAMPLE_RATE
"""Samples of the network's input."""
FRAME = SAMPLE_RATE // 50
"""Samples of one 20 ms energy frame."""
MAX_CLIP_S = 600
MIN_CLIP_S = 0.1
CACHE_VERSION = 1

Pcm = npt.NDArray[np.int16]


def default_cache_dir() -> Path:
    """``$FAC_CACHE``, or ``fac-stream`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FAC_CACHE") or Path(base) / "fac-stream")


class PcmCache:
    """``cache[i]`` is the speech of the i-th clip, int16 ``[n]``, read from disk when touched."""

    def __init__(self, samples: Pcm, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> None:
        self._samples = samples
        self._starts = starts
        self._ends = ends

    def __getstate__(self) -> tuple[str, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Another process opens the same file instead of being sent its content."""
        if not isinstance(self._samples, np.memmap):
            raise TypeError("only a cache on disk can be sent to another process")
        return str(self._samples.filename), self._starts, self._ends

    def __setstate__(self, state: tuple[str, npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> None:
        path, self._starts, self._ends = state
        self._samples = np.memmap(path, np.int16, "r")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Pcm:
        return self._samples[int(self._starts[index]) : int(self._ends[index])]

    @property
    def duration_s(self) -> npt.NDArray[np.float64]:
        """Seconds of speech of each clip, ``[clips]``."""
        return (self._ends - self._starts) / SAMPLE_RATE

    def subset(self, numbers: Sequence[int]) -> "PcmCache":
        """Some of the clips, in the order given, on the same memory."""
        kept = np.asarray(numbers, np.int64)
        return PcmCache(self._samples, self._starts[kept], self._ends[kept])

    @classmethod
    def of(cls, clips: Sequence[Clip], folder: Path | None = None) -> "PcmCache":
        """Open the cache of these clips, decoding them first where they were never seen like this.

        Raises:
            AudioError: a clip is unreadable, empty or longer than ten minutes.
        """
        folder = folder or default_cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        path, index = (folder / f"{_key(clips)}.{suffix}" for suffix in ("pcm", "ends.npy"))
        if not (index.is_file() and path.is_file()):
            _write(path, index, (speech_of(clip.path) for clip in clips))
        ends: npt.NDArray[np.int64] = np.load(index, allow_pickle=False)
        samples = np.memmap(path, np.int16, "r", shape=(int(ends[-1]),))
        return cls(samples, np.concatenate([[0], ends[:-1]]), ends)


def _key(clips: Sequence[Clip]) -> str:
    digest = hashlib.sha256(f"{CACHE_VERSION}".encode())
    for clip in clips:
        stat = clip.path.stat()
        digest.update(f"{clip.path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _write(path: Path, index: Path, recordings: Iterable[Samples]) -> None:
    """The index is written last and moved into place, so a half-written cache is never opened."""
    ends: list[int] = []
    total = 0
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            for samples in recordings:
                file.write(to_int16(samples).tobytes())
                total += len(samples)
                ends.append(total)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    part = index.with_suffix(f".{os.getpid()}.part.npy")
    np.save(part, np.asarray(ends, np.int64), allow_pickle=False)
    part.replace(index)


def decode(path: Path) -> Samples:
    """A whole recording as mono float32 ``[n]`` at 16 kHz.

    Raises:
        DecodeError: the file is unreadable or holds no audio.
        AudioError: it is longer than ten minutes.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames > MAX_CLIP_S * file.samplerate:
                raise AudioError(f"{path} is longer than {MAX_CLIP_S} s; cut it into clips")
            sound = file.read(dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise DecodeError(f"cannot decode {path}: {error}") from error
    mono = sound.mean(axis=1)
    if len(mono) < MIN_CLIP_S * rate or not np.isfinite(mono).all():
        raise DecodeError(f"{path} holds less than {MIN_CLIP_S} s of audio, or samples that are not finite")
    return np.asarray(mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE), np.float32)


def speech_of(path: Path) -> Samples:
    """What ``decode`` gives, ``trimmed``."""
    return trimmed(decode(path))


def trimmed(samples: Samples) -> Samples:
    """Float32 ``[n]`` without the silence before and after, but for 40 ms; silence alone is kept whole."""
    active = np.flatnonzero(active_frames(samples)) if len(samples) else np.zeros(0, int)
    if not len(active):
        return samples
    return samples[max(0, (active[0] - 2) * FRAME) : (active[-1] + 3) * FRAME]


def active_frames(samples: Samples | Pcm) -> npt.NDArray[np.bool_]:
    """Which 20 ms frames are within 30 dB of the loud ones and above -65 dBFS, bool ``[ceil(n / 320)]``."""
    scaled = samples.astype(np.float32) / (32768.0 if samples.dtype == np.int16 else 1.0)
    frames = np.pad(scaled, (0, -len(scaled) % FRAME)).reshape(-1, FRAME)
    level = 10.0 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)
    active: npt.NDArray[np.bool_] = level > max(-65.0, float(np.percentile(level, 95)) - 30.0)
    return active


def to_int16(samples: Samples) -> Pcm:
    """Full scale ±1 to 16 bits, clipped."""
    clipped: Pcm = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)
    return clipped


def to_float(samples: Pcm) -> Samples:
    """16 bits to full scale ±1."""
    return samples.astype(np.float32) / 32768.0

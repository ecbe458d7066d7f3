"""A call that turns synthetic, made on the user's machine: nobody's recordings are shipped.

::

    |- 12 s: a person (announcements of Asterisk) -|- 12 s: espeak-ng, then that person from a vocoder -|

Both halves have the same pauses and the same level, so that neither gives the difference away.
"""

import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import FacError
from training.vocoder import griffin_lim

PACKAGE = "asterisk-core-sounds-en-wav"
"""Debian's package of a person's telephone announcements, 8 kHz."""
CLIPS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
ORDER = (
    "confbridge-pin",
    "queue-youarenext",
    "unidentified-no-callback",
    "pbx-invalidpark",
    "demo-thanks",
)
SENTENCES = (
    "Good morning, this is the service desk of your bank.",
    "We have seen a payment that we need to confirm with you today.",
    "Please read me the six digits that we have just sent to your phone.",
)
HALF_S = 12.0
PAUSE_S = 0.15
LEVEL = 0.08
"""RMS of every piece: -22 dBFS."""
ESPEAK_TIMEOUT_S = 30.0


def demo_folder() -> Path:
    """Where the demo call is kept: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "fac-stream"


def build_demo_call(out: Path) -> Path:
    """Write ``demo-call.wav`` (16 kHz, mono) into the folder ``out``; the same bytes each time.

    Raises:
        FacError: the announcements or espeak-ng are not installed, or the folder cannot be written.
    """
    check_installed(CLIPS)
    clips = [level(trim(read_wav(CLIPS / f"{name}.wav"))) for name in ORDER]
    copies = [level(griffin_lim(clip, SAMPLE_RATE)) for clip in clips]
    sentences = [level(trim(speak(text))) for text in SENTENCES]
    human = join([*clips, *clips[::-1]])
    synthetic = join([*sentences, *copies])
    half = round(HALF_S * SAMPLE_RATE)
    path = out / "demo-call.wav"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_wav(path, np.concatenate([human[:half], synthetic[:half]]))
    except OSError as error:
        raise FacError(f"the demo call cannot be written to {out}: {error.strerror}") from None
    return path


def check_installed(clips: Path) -> None:
    """Raise FacError, naming what to install, where a voice is missing."""
    missing = []
    if not all((clips / f"{name}.wav").is_file() for name in ORDER):
        missing.append(PACKAGE)
    if shutil.which("espeak-ng") is None:
        missing.append("espeak-ng")
    if missing:
        raise FacError(
            f"the demo makes its call from voices of {' and '.join(missing)}, not installed here; on Debian "
            f"and Ubuntu: sudo apt-get install {' '.join(missing)}"
        )


def speak(text: str) -> Samples:
    """A sentence by espeak-ng, float32 ``[n]`` at 16 kHz.

    Raises:
        FacError: espeak-ng failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        try:
            subprocess.run(  # noqa: S603 - a fixed program and our own text
                ["espeak-ng", "-v", "en-us", "-w", str(path), text],  # noqa: S607 - wherever it is installed
                check=True,
                capture_output=True,
                timeout=ESPEAK_TIMEOUT_S,
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise FacError(f"espeak-ng made no speech: {error}") from None
        return read_wav(path)


def read_wav(path: Path) -> Samples:
    """A 16-bit WAV as float32 ``[n]`` at 16 kHz, channels averaged.

    Raises:
        FacError: it is no such file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise FacError(f"{path}: not 16 bits a sample")
            data, rate, channels = (
                file.readframes(file.getnframes()),
                file.getframerate(),
                file.getnchannels(),
            )
    except (OSError, EOFError, wave.Error) as error:
        raise FacError(f"{path}: cannot be read: {error}") from None
    samples = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1) / 32768.0
    resampled: Samples = soxr.resample(samples.astype(np.float32), rate, SAMPLE_RATE)
    return resampled


def write_wav(path: Path, samples: Samples) -> None:
    """Write 16-bit mono at 16 kHz, beside and then swapped: a reader never sees half a file."""
    new = path.with_suffix(f".{os.getpid()}.new")
    with wave.open(str(new), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    new.replace(path)


def trim(clip: Samples, floor: float = 0.02) -> Samples:
    """Without the quiet before and after: what stays below ``floor`` of the peak."""
    loud = np.flatnonzero(np.abs(clip) > floor * np.abs(clip).max())
    return clip[loud[0] : loud[-1] + 1] if len(loud) else clip


def level(clip: Samples) -> Samples:
    """At the common level."""
    return clip * np.float32(LEVEL / max(float(np.sqrt(np.mean(clip**2))), 1e-9))


def join(clips: Iterable[Samples]) -> Samples:
    """One after the other, with a short pause after each."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    return np.concatenate([part for clip in clips for part in (clip, pause)])

"""Samples as a WAV file: 16 bits, one channel, 16 kHz, for this user's eyes only."""

import os
import wave
from pathlib import Path

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import StorageError


def write_wav(path: Path, samples: Samples) -> None:
    """Write float32 ``[n]``, full scale at ±1, to a file that must not exist yet; its mode is 0600.

    Raises:
        StorageError: there is such a file already, or it cannot be written.
    """
    data = np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as stream, wave.open(stream, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(SAMPLE_RATE)
            wav.writeframes(data)
    except FileExistsError:
        raise StorageError(f"{path}: there is such a file already; choose another name") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error

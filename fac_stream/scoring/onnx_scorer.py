"""Scoring with ONNX Runtime on CPU: what the base install has, and the fastest way without a GPU."""

import onnxruntime

from fac_model.bundle import ONNX, Bundle
from fac_stream.audio.frames import Samples
from fac_stream.errors import ScorerError
from fac_stream.scoring.base import Scores, scores_of

SLICE = 8
"""Windows a run. More are no faster on a CPU, and each one more costs 10 MB that are never given back."""


class OnnxScorer:
    """Scores with the bundle's ``model.onnx``; the calibration is applied here."""

    backend = "onnx"
    device = "cpu"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Open the bundle's graph.

        Raises:
            ScorerError: the bundle has none, or ONNX Runtime refuses it.
        """
        if not bundle.has_onnx:
            raise ScorerError(
                f"{bundle.path}: has no {ONNX}: write one with `fac export {bundle.path}`, "
                "or set model.backend: torch"
            )
        self.model = bundle.model_id
        self.version = bundle.manifest.version
        self.calibration = bundle.manifest.calibration
        self.tables = bundle.manifest.decision
        self._manifest = bundle.manifest
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.read(ONNX), _options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise ScorerError(f"{bundle.path}: {ONNX} cannot be opened: {error}") from error

    def score(self, windows: Samples) -> Scores:
        """Score float32 ``[B, 32000]``.

        Raises:
            ScorerError: ONNX Runtime failed, or its answer is none.
        """
        slices = [windows[i : i + SLICE] for i in range(0, len(windows), SLICE)]
        return scores_of(self._manifest, [self._run(part) for part in slices], windows)

    def _run(self, windows: Samples) -> Samples:
        try:
            logits: Samples = self._session.run(["logits"], {"wave": windows})[0]
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise ScorerError(f"ONNX Runtime failed on {len(windows)} windows: {error}") from error
        return logits


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Spinning threads answer some microseconds sooner and keep an idle daemon's processor busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options

"""Which scorer a configuration means, tried out before it is trusted."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from fac_model.bundle import Bundle, BundleError
from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.config import Model
from fac_stream.errors import ScorerError
from fac_stream.scoring.base import Scorer
from fac_stream.scoring.onnx_scorer import OnnxScorer

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""NVIDIA, NVIDIA below Windows, AMD: without any of them torch need not be asked, which takes it seconds."""


def open_scorer(model: Model) -> Scorer:
    """Load the bundle, warm the scorer up and test it. ``auto`` takes a GPU with torch, else ONNX Runtime.

    Raises:
        ScorerError: the bundle or the backend cannot be used; says what to install or to set.
    """
    return scorer_of(open_bundle(model), model)


def open_bundle(model: Model) -> Bundle:
    """Load the bundle that the configuration names.

    Raises:
        ScorerError: it cannot be used.
    """
    try:
        return Bundle.load(model.bundle)
    except BundleError as error:
        raise ScorerError(str(error)) from error


def scorer_of(bundle: Bundle, model: Model) -> Scorer:
    """What ``open_scorer`` does with a bundle that is loaded already.

    Raises:
        ScorerError: the backend cannot be used; says what to install or to set.
    """
    scorer = _make(bundle, model)
    _try_out(scorer)
    return scorer


def _make(bundle: Bundle, model: Model) -> Scorer:
    if model.backend == "onnx":
        if model.device == "cuda":
            raise ScorerError("ONNX Runtime scores on CPU here: for CUDA set model.backend: torch")
        return OnnxScorer(bundle, model.threads)
    if model.backend == "auto" and (model.device == "cpu" or (model.device == "auto" and not _has_gpu())):
        return OnnxScorer(bundle, model.threads)
    return _torch(bundle, model)


def _torch(bundle: Bundle, model: Model) -> Scorer:
    try:
        from fac_stream.scoring import torch_scorer  # noqa: PLC0415 - the base install has no torch
    except ImportError as error:
        raise ScorerError(
            f"torch cannot be imported ({error}): install it with `pip install 'fac-stream[gpu]'`, "
            "or set model.backend: onnx"
        ) from error
    device = model.device
    if device == "auto":
        device = "cuda" if torch_scorer.cuda_is_available() else "cpu"
    return torch_scorer.TorchScorer(bundle, device, model.threads)


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in GPU_DRIVERS):
        return False
    from fac_stream.scoring import torch_scorer  # noqa: PLC0415 - the base install has no torch

    return torch_scorer.cuda_is_available()


def _try_out(scorer: Scorer) -> None:
    """Score silence and noise, alone and in company: what is slow the first time is so before a call."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((16, 2 * SAMPLE_RATE))
    windows = noise.astype(np.float32)
    windows[0] = 0.0
    for count in (1, 2, len(windows)):
        scorer.score(windows[:count])

"""From a bundle's weights to ``model.onnx``: front end and network in one graph, waveform to logits."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from fac_model.bundle import ONNX, Bundle
from fac_model.detector import Detector
from fac_model.self_test import known_sounds
from fac_stream.audio.frames import Samples
from fac_stream.errors import FacError

TOLERANCE = 1e-4
"""Largest difference of a logit between ONNX Runtime and torch."""


def export_onnx(bundle_dir: Path) -> Bundle:
    """Write ``model.onnx`` into a bundle, or replace the one that is there.

    Its input ``wave`` is float32 ``[B, window_samples]``, its output ``logits`` ``[B, outputs]``.

    Raises:
        fac_model.bundle.BundleError: the bundle is damaged or cannot be written.
        FacError: the graph's logits differ from torch's; the bundle is left as it was.
    """
    bundle = Bundle.load(bundle_dir)
    graph = checked_graph(bundle)
    return bundle.update(precision="float32", self_test=self_test(graph, bundle), files={ONNX: graph})


def checked_graph(bundle: Bundle) -> bytes:
    """The content of ``model.onnx``, which scores as torch does.

    Raises:
        fac_model.bundle.BundleError: the bundle is damaged.
        FacError: the graph's logits differ from torch's.
    """
    detector = Detector.load(bundle)
    window_samples = bundle.manifest.front_end.window_samples
    graph = _graph(detector, window_samples)
    difference = parity(detector, graph, window_samples)
    if not difference <= TOLERANCE:
        raise FacError(
            f"{bundle.path}: the exported graph's logits differ from torch's by {difference:.2g}, more than "
            f"{TOLERANCE:g}: nothing was written; try another version of torch or onnxscript"
        )
    return graph


def self_test(graph: bytes, bundle: Bundle) -> list[list[float]]:
    """The graph's logits of known sounds, by which a machine tells whether it scores as this one does."""
    sounds = known_sounds(bundle.manifest.front_end.window_samples)
    found: list[list[float]] = graph_logits(graph, threads=1)(sounds).tolist()
    return found


def parity(detector: Detector, graph: bytes, window_samples: int) -> float:
    """Largest difference of a logit over trial signals, in batches of different sizes."""
    logits = graph_logits(graph, threads=1)
    waves = trial_signals(window_samples)
    differences = [
        np.abs(logits(batch) - detector.logits(batch)).max() for batch in (waves, waves[:1], waves[-3:])
    ]
    return float(np.max(differences))


def graph_logits(graph: bytes, threads: int) -> Callable[[Samples], Samples]:
    """An exported graph on CPU: float32 ``[B, window_samples]`` to logits ``[B, outputs]``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def logits(waves: Samples) -> Samples:
        answer: Samples = session.run(["logits"], {"wave": waves})[0]
        return answer

    return logits


def trial_signals(window_samples: int) -> Samples:
    """Digital silence and sounds with a voice's build, from loud to faint: ``[B, window_samples]``."""
    rng = np.random.default_rng(0)
    time_s = np.arange(window_samples) / 16_000
    waves = [np.zeros(window_samples)]
    for pitch_hz, level in ((90.0, 0.5), (140.0, 0.1), (210.0, 0.01), (300.0, 0.001)):
        vibrato = np.cumsum(pitch_hz * (1.0 + 0.03 * np.sin(2.0 * np.pi * 5.0 * time_s))) / 16_000
        harmonics = np.arange(1, int(7_500 / pitch_hz))
        voice = (np.cos(2.0 * np.pi * vibrato[:, None] * harmonics) / harmonics).sum(axis=1)
        syllables = np.maximum(0.0, np.sin(2.0 * np.pi * 3.0 * time_s))
        breath = rng.normal(size=window_samples) * 0.02
        waves.append(level * (voice / np.abs(voice).max() * syllables + breath))
    return np.stack(waves).astype(np.float32)


def _graph(detector: Detector, window_samples: int) -> bytes:
    with _quiet_exporter():
        program = torch.onnx.export(
            detector.graph,
            (torch.zeros(2, window_samples),),
            input_names=["wave"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("windows", min=1, max=4096)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise FacError("torch gave no ONNX program: check the versions of torch and onnxscript")
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        # Stack traces with paths of this machine; without them the same weights give the same bytes.
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph: bytes = model.SerializeToString()
    return graph


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Drop what torch says about itself: each operator of a missing torchvision, its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        logger.setLevel(level)

"""The exported graph with its convolutions in int8: smaller, and faster on processors with the instructions.

Quantised by ONNX Runtime (static, QDQ, weights by channel, activations by the least and the largest value
that windows of dev give them); front end and head stay float32.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from fac_model.bundle import ONNX, Bundle
from fac_stream.audio.frames import Samples
from fac_stream.errors import FacError
from training.channel import CONDITIONS
from training.dataset import Corpus, windows
from training.export import checked_graph, graph_logits, self_test
from training.judge import MOST
from training.manifest import Label, Split
from training.metrics import figures

CALIBRATION_WINDOWS = 128
BATCH = 8
MOST_LOSS = 0.02
"""Of equal error rate on dev; a graph that loses more is not written."""

Flags = npt.NDArray[np.bool_]


def quantise(bundle_dir: Path, data: Path) -> dict[str, dict[str, float]]:
    """Replace a bundle's graph by its int8 variant; ``fac export`` without brings float32 back.

    Args:
        bundle_dir: the bundle's folder.
        data: manifest CSV or folder; its split dev is used.

    Returns:
        ``eer`` and ``auc`` of one window a clip, for ``float32`` and ``int8``; half of the clips over G.711.

    Raises:
        fac_model.bundle.BundleError: the bundle is damaged or cannot be written.
        FacError: the data cannot be used, or int8 ranks dev worse than it may; nothing was written.
    """
    bundle = Bundle.load(bundle_dir)
    labels, waves = dev_windows(Corpus.open(data))
    plain = checked_graph(bundle)
    quantised = int8(plain, evenly(waves, CALIBRATION_WINDOWS))
    found = {}
    for name, graph in (("float32", plain), ("int8", quantised)):
        score = graph_logits(graph, threads=1)
        rows = [score(waves[i : i + BATCH])[:, 0] for i in range(0, len(waves), BATCH)]
        ranked = figures(labels, np.concatenate(rows))
        found[name] = {"eer": ranked["eer"], "auc": ranked["auc"]}
    loss = found["int8"]["eer"] - found["float32"]["eer"]
    if loss > MOST_LOSS:
        raise FacError(
            f"{bundle_dir}: int8 costs {100 * loss:.1f} points of equal error rate on dev: nothing written"
        )
    bundle.update(precision="int8", self_test=self_test(quantised, bundle), files={ONNX: quantised})
    return found


def dev_windows(corpus: Corpus) -> tuple[Flags, Samples]:
    """Labels ``[N]``, True for synthetic, and a window of each clip of dev, every other one over G.711.

    Of more clips than ``training.judge.MOST`` so many are taken evenly: they are kept in memory.
    """
    dev = corpus.speech(Split.DEV).thinned(MOST)
    waves = np.concatenate([windows(dev.pcm[number], 1) for number in range(len(dev.clips))])
    waves[::2] = CONDITIONS["g711"](waves[::2])
    return np.array([clip.label == Label.FAKE for clip in dev.clips]), waves


def evenly(waves: Samples, count: int) -> Samples:
    """At most so many of the windows, evenly taken."""
    chosen: Samples = waves[np.unique(np.linspace(0, len(waves) - 1, count).round().astype(int))]
    return chosen


def int8(graph: bytes, waves: Samples) -> bytes:
    """The graph with its convolutions quantised, float32 ``[N, window_samples]`` giving the ranges."""
    with tempfile.TemporaryDirectory() as folder:
        plain, inferred, quantised = (Path(folder, f"{name}.onnx") for name in ("plain", "inferred", "int8"))
        plain.write_bytes(graph)
        quant_pre_process(plain, inferred, skip_symbolic_shape=True)
        quantize_static(
            inferred,
            quantised,
            _Feed(waves),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return quantised.read_bytes()


class _Feed(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no stubs
    """Windows for the calibration, a batch at a time."""

    def __init__(self, waves: Samples) -> None:
        self._batches: Iterator[Samples] = iter([waves[i : i + BATCH] for i in range(0, len(waves), BATCH)])

    def get_next(self) -> dict[str, Samples] | None:
        """The next batch by the name of the input; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"wave": batch}

import numpy as np
import onnx
import onnxruntime
import pytest

import training.export
from fac_model.bundle import ONNX, Bundle, BundleError
from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig, NetworkConfig
from fac_model.detector import Detector
from fac_model.network import weights_of
from fac_stream.errors import FacError
from training.export import export_onnx, trial_signals


@pytest.fixture(scope="module", params=["default", "predecessor", "both"])
def exported(request, tmp_path_factory, network):
    """A bundle of the ramp network with its ONNX graph; ``both`` has a second output, the first reversed."""
    folder = tmp_path_factory.mktemp("export") / request.param
    if request.param == "both":
        return export_onnx(two_outputs(folder, network))
    Bundle.save(
        folder,
        name=request.param,
        version="1",
        front_end=FrontEndConfig.preset(request.param),
        network=NetworkConfig(),
        calibration=Calibration(),
        tensors=weights_of(network),
    )
    return export_onnx(folder)


def two_outputs(folder, network):
    """A bundle whose speech logit is the negative of its synthetic one."""
    weights = weights_of(network)
    for name in ("head.4.weight", "head.4.bias"):
        weights[name] = np.concatenate([weights[name], -weights[name]])
    return Bundle.save(
        folder,
        name="both",
        version="1",
        front_end=FrontEndConfig(),
        network=NetworkConfig(settings={"outputs": 2}),
        outputs=("synthetic", "speech"),
        calibration=Calibration(),
        tensors=weights,
    ).path


def session_of(bundle):
    """The graph as a CPU box runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(bundle.read(ONNX), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("windows", [1, 2, 5, 17])
def test_graph_gives_torchs_logits(exported, waves, windows):
    """Batches of any size, silence among them, differ from torch by no more than 1e-4."""
    batch = np.resize(waves, (windows, 32_000))
    logits = session_of(exported).run(["logits"], {"wave": batch})[0]
    assert logits.shape == (windows, len(exported.manifest.outputs))
    assert np.abs(logits - Detector.load(exported).logits(batch)).max() < 1e-4


def test_logits_under_test_differ(exported, waves):
    """The ramp network tells the windows apart, so that parity means something."""
    assert np.ptp(Detector.load(exported).logits(waves)) > 1


def test_level_does_not_change_the_graphs_logits(exported, waves):
    """The exported graph is as indifferent to level as the front end."""
    session = session_of(exported)
    loud, faint = (session.run(None, {"wave": np.float32(gain) * waves})[0] for gain in (1.0, 0.01))
    assert np.abs(loud - faint).max() < 1e-2


def test_export_stays_in_the_bundle(exported):
    """The graph is a listed file; weights and model id are as before."""
    loaded = Bundle.load(exported.path)
    assert loaded.has_onnx
    assert loaded.model_id == exported.model_id


def test_export_brings_float32_back(bundle, monkeypatch):
    """A bundle whose graph was quantised is another one until it is exported again."""
    monkeypatch.setattr(training.export, "checked_graph", lambda bundle: b"graph")
    monkeypatch.setattr(training.export, "self_test", lambda graph, bundle: None)
    small = bundle.update(precision="int8", files={ONNX: b"small"})
    assert Bundle.load(small.path).model_id == small.model_id != bundle.model_id
    again = export_onnx(bundle.path)
    assert (again.model_id, again.manifest.precision) == (bundle.model_id, "float32")


def test_graph_tells_nothing_of_the_machine(exported):
    """No stack trace with somebody's folders is shipped, and the graph is valid."""
    graph = exported.read(ONNX)
    assert b".py" not in graph
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)


def test_graph_that_differs_is_not_written(bundle, monkeypatch):
    """An export that misses parity is an error and leaves the bundle as it was."""
    monkeypatch.setattr(training.export, "_graph", lambda detector, window_samples: b"")
    monkeypatch.setattr(training.export, "parity", lambda detector, graph, window_samples: float("nan"))
    with pytest.raises(FacError, match="differ from torch's"):
        export_onnx(bundle.path)
    assert Bundle.load(bundle.path) == bundle


def test_damaged_bundle_is_not_exported(bundle):
    """What cannot be loaded cannot be exported."""
    (bundle.path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match="SHA-256"):
        export_onnx(bundle.path)


def test_trial_signals_cover_silence_and_faint_voices():
    """Parity is measured on digital silence and on levels over 50 dB."""
    signals = trial_signals(32_000)
    peaks = np.abs(signals).max(axis=1)
    assert peaks[0] == 0
    assert peaks[1] / peaks[-1] > 300

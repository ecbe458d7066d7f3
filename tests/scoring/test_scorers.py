import builtins
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.quality import QualityRange, is_telephone, measure
from fac_stream.config import Model
from fac_stream.errors import ScorerError
from fac_stream.scoring.backend import open_scorer
from fac_stream.scoring.base import scores_of
from fac_stream.scoring.onnx_scorer import SLICE, OnnxScorer

BACKENDS = ["onnx", "torch"]


@pytest.fixture(scope="module", params=BACKENDS)
def scorer(request, bundle_path):
    """One scorer of each backend, on CPU."""
    return open_scorer(Model(bundle=bundle_path, backend=request.param, device="cpu"))


def test_scores_are_probabilities(scorer, waves):
    """One finite score in [0, 1] a window, and different windows differ."""
    scores = scorer.score(waves).synthetic
    assert scores.shape == (len(waves),)
    assert scores.dtype == np.float32
    assert np.all((scores >= 0) & (scores <= 1))
    assert np.ptp(scores) > 0.1


def test_company_changes_nothing(scorer, waves):
    """A window among others has the score it has alone, whatever the size of the batch."""
    together = scorer.score(waves).synthetic
    for size in (1, 3, SLICE, SLICE + 1):
        parts = [scorer.score(waves[i : i + size]).synthetic for i in range(0, len(waves), size)]
        assert np.concatenate(parts) == pytest.approx(together, abs=2e-3)


def test_order_changes_nothing(scorer, waves):
    """Scores follow their windows."""
    order = np.random.default_rng(0).permutation(len(waves))
    shuffled = scorer.score(waves[order]).synthetic
    assert shuffled == pytest.approx(scorer.score(waves).synthetic[order], abs=2e-3)


def test_the_model_is_named(scorer, bundle_path):
    """Events carry the bundle's name and hash."""
    assert scorer.model == Bundle.load(bundle_path).model_id
    assert scorer.model.startswith("random@")
    assert scorer.device == "cpu"


def test_onnx_scores_what_torch_scores(bundle_path, waves):
    """Both backends agree; the calibration of this bundle stretches a logit's difference 200 times."""
    onnx, torch = (open_scorer(Model(bundle=bundle_path, backend=b, device="cpu")) for b in BACKENDS)
    found, expected = onnx.score(waves), torch.score(waves)
    assert found.synthetic == pytest.approx(expected.synthetic, abs=200 * 1e-4 / 4)
    assert found.speech == pytest.approx(expected.speech, abs=200 * 1e-4 / 4)
    assert found.quality == expected.quality


def test_each_window_is_calibrated_by_its_channel(bundle_path, tmp_path, waves):
    """Another calibration of the same weights moves the scores as it says, by the measured channel."""
    shutil.copytree(bundle_path, tmp_path / "copy")
    plain = Bundle.load(tmp_path / "copy").update(calibration=Calibration())
    stretched = Bundle.load(bundle_path)
    logit = np.log(1 / (1 / OnnxScorer(plain, 1).score(waves).synthetic.astype(float) - 1))
    telephone = is_telephone(waves)
    assert set(telephone) == {True, False}
    expected = stretched.manifest.calibration.probability(logit, telephone)
    assert OnnxScorer(stretched, 1).score(waves).synthetic == pytest.approx(expected, abs=1e-3)


def test_speech_is_told_where_it_is_calibrated(bundle_path, tmp_path, waves):
    """A bundle without a map for the second logit says nothing of speech."""
    shutil.copytree(bundle_path, tmp_path / "copy")
    silent = Bundle.load(tmp_path / "copy").update(calibration=Calibration())
    assert OnnxScorer(silent, 1).score(waves).speech is None
    speech = OnnxScorer(Bundle.load(bundle_path), 1).score(waves).speech
    assert speech.shape == (len(waves),)
    assert ((speech >= 0) & (speech <= 1)).all()


def test_what_leaves_the_range_is_told(bundle_path, tmp_path, waves):
    """Quality is measured for each window and held against the bundle's range, where it states one."""
    shutil.copytree(bundle_path, tmp_path / "copy")
    span = QualityRange((-30.0, 0.0), (5_000.0, 8_000.0), (0.0, 0.01), (5.0, 100.0))
    ranged = Bundle.load(tmp_path / "copy").update(quality=span)
    found = OnnxScorer(ranged, 1).score(waves).quality
    assert found == span.flags(measure(waves))
    assert ["quiet", "narrowband", "noisy"] in found
    assert OnnxScorer(Bundle.load(bundle_path), 1).score(waves).quality == [[]] * len(waves)


def test_auto_takes_onnx_where_there_is_no_gpu(bundle_path, monkeypatch):
    """Without a GPU the scorer is ONNX Runtime's, and torch is never imported."""
    monkeypatch.setattr("fac_stream.scoring.backend.GPU_DRIVERS", ())
    assert isinstance(open_scorer(Model(bundle=bundle_path)), OnnxScorer)
    code = (
        "import sys; from pathlib import Path; from fac_stream.config import Model\n"
        "from fac_stream.scoring import backend; backend.GPU_DRIVERS = ()\n"
        f"backend.open_scorer(Model(bundle=Path({str(bundle_path)!r})))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_wrong_shapes_are_scorer_errors(scorer):
    """What a backend refuses comes out as a ScorerError, not as its own exception."""
    with pytest.raises(ScorerError, match="failed on 2 windows"):
        scorer.score(np.zeros((2, 31_999), np.float32))


def test_a_missing_bundle_is_told_in_words(tmp_path):
    """The error names the folder."""
    with pytest.raises(ScorerError, match="nowhere"):
        open_scorer(Model(bundle=tmp_path / "nowhere"))


def test_a_bundle_without_graph_says_how_to_make_one(bundle_path, tmp_path):
    """ONNX Runtime needs model.onnx; torch does not."""
    full = Bundle.load(bundle_path)
    bare = Bundle.save(
        tmp_path / "bare",
        name="bare",
        version="0",
        front_end=full.manifest.front_end,
        network=full.manifest.network,
        outputs=full.manifest.outputs,
        calibration=full.manifest.calibration,
        tensors=full.tensors(),
    )
    with pytest.raises(ScorerError, match="fac export"):
        open_scorer(Model(bundle=bare.path, backend="onnx"))
    assert open_scorer(Model(bundle=bare.path, backend="torch", device="cpu")).model.startswith("bare@")


def test_a_graph_that_is_none_is_told_in_words(bundle_path, tmp_path):
    """Garbage that has the right hash is still refused, by name."""
    shutil.copytree(bundle_path, tmp_path / "broken")
    Bundle.load(tmp_path / "broken").update(files={"model.onnx": b"no graph"})
    with pytest.raises(ScorerError, match=r"model\.onnx cannot be opened"):
        open_scorer(Model(bundle=tmp_path / "broken", backend="onnx"))


def test_missing_torch_names_the_extra(bundle_path, monkeypatch):
    """Where torch is asked for and missing, the error says what to install."""
    real_import = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "fac_stream.scoring.torch_scorer", raising=False)
    monkeypatch.delattr("fac_stream.scoring.torch_scorer", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(ScorerError, match=r"fac-stream\[gpu\]"):
        open_scorer(Model(bundle=bundle_path, backend="torch"))


def test_cuda_that_is_not_there_is_told_in_words(bundle_path, monkeypatch):
    """Asking for CUDA without one, or of ONNX Runtime, is a clear error."""
    monkeypatch.setattr("fac_stream.scoring.torch_scorer.cuda_is_available", lambda: False)
    with pytest.raises(ScorerError, match="no CUDA device"):
        open_scorer(Model(bundle=bundle_path, device="cuda"))
    with pytest.raises(ScorerError, match=r"model\.backend: torch"):
        open_scorer(Model(bundle=bundle_path, backend="onnx", device="cuda"))


@pytest.mark.parametrize(
    "logits", [[[0.5]], [[0.5, 1.0]] * 3, [0.5, 0.5], [[0.5]] * 2, [[0.5, np.nan]] * 2, [[np.inf, 0.0]] * 2]
)
def test_what_is_no_answer_is_refused(bundle_path, waves, logits):
    """Missing, surplus and infinite logits never get through."""
    manifest = Bundle.load(bundle_path).manifest
    with pytest.raises(ScorerError):
        scores_of(manifest, [np.array(logits, np.float32)], waves[:2])


def test_a_model_that_fails_its_trial_is_not_opened(bundle_path, monkeypatch):
    """A scorer that answers NaN is refused when it is opened, not during a call."""
    monkeypatch.setattr(OnnxScorer, "_run", lambda self, windows: np.full((len(windows), 2), np.nan))
    with pytest.raises(ScorerError, match="not finite"):
        open_scorer(Model(bundle=bundle_path, backend="onnx"))


def test_memory_is_bounded_by_the_slice(bundle_path, monkeypatch, waves):
    """However large the batch, the runtime never sees more than a slice."""
    scorer = OnnxScorer(Bundle.load(bundle_path), 1)
    sizes, run = [], scorer._run
    monkeypatch.setattr(scorer, "_run", lambda windows: sizes.append(len(windows)) or run(windows))
    scorer.score(waves)
    assert sizes == [8, 8, 4]

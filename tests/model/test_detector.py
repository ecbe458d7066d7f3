import numpy as np
import pytest

from fac_model.bundle import Bundle, BundleError
from fac_model.config import NetworkConfig
from fac_model.detector import Detector
from fac_model.quality import is_telephone


def test_scores_are_calibrated_logits(bundle, waves):
    """One finite probability a window, the bundle's calibration of the network's logit for its channel."""
    detector = Detector.load(bundle)
    scores = detector(waves)
    assert scores.shape == (5,)
    assert scores.dtype == np.float32
    logits = detector.logits(waves)
    assert logits.shape == (5, 1)
    expected = bundle.manifest.calibration.probability(logits[:, 0], is_telephone(waves))
    assert np.array_equal(scores, expected)
    assert ((scores > 0) & (scores < 1)).all()


def test_level_does_not_change_the_score(bundle, waves):
    """From full level to 40 dB below it the score stays."""
    detector = Detector.load(bundle)
    for gain in (0.01, 0.1, 0.5):
        assert np.abs(detector(np.float32(gain) * waves) - detector(waves)).max() < 1e-3


def test_batch_equals_single(bundle, waves):
    """A window's score does not depend on its neighbours."""
    detector = Detector.load(bundle)
    singly = np.concatenate([detector(window[None]) for window in waves])
    assert np.abs(detector(waves) - singly).max() < 1e-5


def test_scoring_twice_gives_the_same_bits(bundle, waves):
    """No dropout, no running statistics: scoring leaves no trace."""
    detector = Detector.load(bundle)
    assert np.array_equal(detector.logits(waves), detector.logits(waves))


def test_read_only_and_strided_windows_are_taken(bundle, waves):
    """Windows that view a decoder's bytes are scored like copies of them."""
    detector = Detector.load(bundle)
    view = np.frombuffer(waves.tobytes(), np.float32).reshape(waves.shape)[::-1]
    assert np.abs(detector(view) - detector(waves)[::-1]).max() < 1e-5


def test_windows_of_another_length_are_refused(bundle):
    """One sample too few is an error in words."""
    with pytest.raises(ValueError, match="32000"):
        Detector.load(bundle)(np.zeros((1, 31_999), np.float32))


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(name="from_the_future"),
        NetworkConfig(settings={"hidden": 64}),
        NetworkConfig(settings={"hidden": 10**12}),
        NetworkConfig(settings={"widths": [32, 64, 128, 256, 512]}),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, fields, config):
    """Weights of another network than the named one are refused, however large that claims to be."""
    bundle = Bundle.save(tmp_path / "odd", **{**fields, "network": config})
    with pytest.raises(BundleError, match="odd"):
        Detector.load(bundle)

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import training.calibrate
from fac_model.calibration import Calibration
from fac_stream.errors import FacError
from training.calibrate import calibrate, equal_shares, prior_windows, source_of
from training.dataset import Corpus
from training.manifest import Clip, Label, Split
from training.pcm import PcmCache

SECONDS = 2


def clip(label, source, generator=""):
    """One of dev."""
    return Clip(Path("x.wav"), label, Split.DEV, source=source, generator=generator)


def corpus_of(labels, seed, clips_each=12, shift=1.0):
    """Steady noise whose level says its class, with some overlap: human ones are fainter."""
    rng = np.random.default_rng(seed)
    clips, pcm = [], []
    for label in labels:
        for number in range(clips_each):
            louder = {Label.REAL: 0.0, Label.FAKE: shift, Label.NONSPEECH: -6.0}[label]
            level = 1500.0 * np.exp(louder + rng.normal())
            clips.append(clip(label, f"page-{number % 3}"))
            pcm.append(np.clip(level * rng.normal(size=SECONDS * 16_000), -32768, 32767).astype(np.int16))
    ends = np.cumsum([len(row) for row in pcm])
    return Corpus(clips, PcmCache(np.concatenate(pcm), np.concatenate([[0], ends[:-1]]), ends))


class Stored:
    """In place of a bundle: keeps what it is updated with."""

    def __init__(self, outputs):
        self.manifest = SimpleNamespace(outputs=outputs)

    def update(self, **parts):
        """What was stored."""
        return SimpleNamespace(**parts)


@pytest.fixture
def loudness(monkeypatch):
    """Makes bundles of a network that goes by level, and says 3 more on a telephone; so does its speech."""
    monkeypatch.setattr(training.calibrate, "CONDITIONS", ("wideband", "g711"))

    def make(*outputs):
        def score(waves):
            spectrum = np.abs(np.fft.rfft(waves, axis=1))
            narrow = spectrum[:, 9_000:].mean(axis=1) < 1e-2 * spectrum[:, :6_000].mean(axis=1)
            level = np.log(np.sqrt(np.square(waves).mean(axis=1)) * 32768 / 1500 + 1e-3)
            return np.stack([level + 3.0 * narrow, level + 3.0], axis=1)[:, : len(outputs)]

        monkeypatch.setattr(training.calibrate, "scorer_of", lambda bundle: score)
        return Stored(outputs)

    return make


def test_each_channel_gets_a_map_of_its_own(loudness):
    """Where a telephone moves the logits by 3, the two maps differ by that, and the threshold stays."""
    stored = calibrate(loudness("synthetic"), corpus_of((Label.REAL, Label.FAKE), 1))
    calibration = stored.calibration
    middles = [-affine.offset / affine.scale for affine in (calibration.wideband, calibration.telephone)]
    assert middles[1] - middles[0] == pytest.approx(3.0, abs=0.6)
    assert calibration.speech is None


def test_the_second_output_is_fitted_against_what_is_no_speech(loudness):
    """Speech above, other sounds below; without any of these the output stays unused."""
    dev, other = corpus_of((Label.REAL, Label.FAKE), 1), corpus_of((Label.NONSPEECH,), 2)
    bundle = loudness("synthetic", "speech")
    speech = calibrate(bundle, dev, other).calibration.speech
    assert speech.llr(np.array([3.0])) > 0 > speech.llr(np.array([-3.0]))
    assert calibrate(bundle, dev).calibration.speech is None


def test_the_range_is_that_of_the_windows(loudness):
    """Levels of the clips, and a bandwidth from a telephone's to full."""
    span = calibrate(loudness("synthetic"), corpus_of((Label.REAL, Label.FAKE), 1)).quality
    assert span.bandwidth_hz[0] == pytest.approx(3_900, abs=130)
    assert span.bandwidth_hz[1] == 8_000
    assert -60 < span.level_dbfs[0] < span.level_dbfs[1] < 0


def test_a_network_that_ranks_the_wrong_way_is_not_calibrated(loudness):
    """Where synthetic clips score lower than human ones there is nothing to calibrate."""
    with pytest.raises(FacError, match="no better than chance"):
        calibrate(loudness("synthetic"), corpus_of((Label.REAL, Label.FAKE), 1, shift=-3.0))


def test_sources_count_alike():
    """A source with one window weighs what one with thousands does, each generator being a source."""
    clips = [clip(Label.REAL, "a")] * 4 + [clip(Label.REAL, "b"), clip(Label.FAKE, "a", "x")]
    clips += [clip(Label.FAKE, "a", "y")] * 2
    weights = equal_shares([source_of(each) for each in clips])
    assert weights.tolist() == [0.25] * 4 + [1.0, 1.0] + [0.5] * 2


def calls_of(spread, n=6, count=3000, seed=0):
    """Calls of windows that share a part of their evidence, each window calibrated for itself.

    A window is Gaussian about ±1 with deviation 1, of which ``spread`` is its own and the rest its call's:
    its log-likelihood ratio is twice its value.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2 == 1
    shared = np.where(labels, 1.0, -1.0) + np.sqrt(1.0 - spread**2) * rng.normal(size=count)
    return list(2.0 * (shared[:, None] + spread * rng.normal(size=(count, n)))), labels


def test_calls_that_know_no_more_than_a_window_are_not_shrunk():
    """Where all windows of a call say the same, their mean is as calibrated as each of them."""
    calls, labels = calls_of(spread=0.0)
    assert prior_windows(calls, labels, np.ones(len(calls))) <= 1.0


def test_overconfident_calls_are_shrunk():
    """Where windows claim twice what they know, the prior takes it back."""
    calls, labels = calls_of(spread=0.0)
    twice = [2.0 * llrs for llrs in calls]
    prior = prior_windows(twice, labels, np.ones(len(calls)))
    n = len(calls[0])
    assert n / (n + prior) == pytest.approx(0.5, abs=0.06)


def test_short_calls_say_nothing_of_the_prior():
    """With a window each there is nothing to fit, and the prior is the usual one."""
    calls, labels = calls_of(spread=0.0, n=1, count=10)
    assert prior_windows(calls, labels, np.ones(10)) == Calibration().prior_windows

"""What reaches the network, and what comes back to which clip."""

import numpy as np
import pytest

from fac_model.bundle import Bundle
from fac_model.calibration import Affine, Calibration
from fac_stream.audio.speech import SpeechGate
from tests.tones import sound
from tests.training.scores import clip
from training.channel import CONDITIONS
from training.dataset import Corpus
from training.logits import clip_logits, judge_of, most_speech, scored
from training.manifest import Label
from training.pcm import WINDOW, PcmCache


def corpus_of(parts) -> Corpus:
    """Human clips with these samples."""
    ends = np.cumsum([len(part) for part in parts])
    pcm = PcmCache(np.concatenate(parts).astype(np.int16), ends - [len(part) for part in parts], ends)
    return Corpus([clip(Label.REAL, "a")] * len(parts), pcm)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_window_reaches_its_own_clip(condition):
    """Clips of different lengths, batched together: each gets the scores of its own windows, in order."""
    rng = np.random.default_rng(0)
    seconds = [1, 2, 3, 7, 2]
    parts = [1000 * (i + 1) * np.sign(rng.normal(size=16_000 * n)) for i, n in enumerate(seconds)]
    shapes, told = [], []

    def level(waves):
        shapes.append(waves.shape[1:])
        return np.abs(waves).mean(axis=1)

    found = clip_logits(level, corpus_of(parts), condition, 4, tell=told.append)
    assert [len(row) for row in found] == [1, 1, 2, 4, 1]
    assert set(shapes) == {(WINDOW,)}
    assert told[-1] == 5
    means = [row.mean() for row in found]
    assert means == [*sorted(means[:4]), means[4]]
    if condition == "wideband":
        assert means == pytest.approx([1000 * (i + 1) / 32768 for i in range(5)], rel=1e-4)


def test_rows_keep_their_columns():
    """A scorer with several outputs gives a row of them a window."""
    found = clip_logits(lambda waves: np.ones((len(waves), 3)), corpus_of([np.ones(80_000)]), "wideband", 2)
    assert [row.shape for row in found] == [(2, 3)]


def test_the_window_with_the_most_speech_is_chosen():
    """Two seconds of hum in a clip of hiss: the second of the windows with half a second of it or more."""
    quiet = np.random.default_rng(0).normal(0, 3, 16_000 * 6)
    quiet[48_000:80_000] += 8000 * np.sin(np.arange(32_000) / 5)
    assert most_speech(corpus_of([quiet, quiet[:16_000]]), 5) == [1, 0]


def test_the_bundle_is_heard_with_its_calibration():
    """The judge's first column is the calibrated LLR by channel, its second the seconds of speech."""
    bundle = Bundle.load()
    waves = np.stack([sound(kind, 3, 2.0) for kind in ("real", "fake", "nonspeech")])
    rows = judge_of(bundle, SpeechGate(0.5, -60.0))(waves)
    assert rows.shape == (3, 3)
    assert np.isfinite(rows[:, :2]).all()
    assert ((rows[:, 1] >= 0.0) & (rows[:, 1] <= 2.0)).all()
    assert np.isnan(rows[:, 2]).all() == (bundle.manifest.calibration.speech is None)
    ungated = judge_of(bundle, None)(waves)
    assert np.isnan(ungated[:, 1]).all()
    assert np.array_equal(ungated[:, 0], rows[:, 0])


def test_a_clip_is_scored_as_a_call():
    """The shrunk mean of its windows; the network's word on speech where it has one."""
    calibration = Calibration(speech=Affine(), prior_windows=1.0)
    rows = [np.array([[2.0, 1.5, -3.0], [4.0, 0.5, 3.0]], np.float32)]
    part = scored([clip(Label.FAKE, generator="A")], rows, calibration)
    assert part.llrs == pytest.approx([3.0 * 2 / 3])
    assert part.speech_s[0].tolist() == [1.5, 0.5]
    assert part.own_speech[0].tolist() == [-3.0, 3.0]
    assert part.labels.tolist() == [True]
    unasked = np.full((2, 2), np.nan, np.float32)
    part = scored(part.clips, [np.column_stack([rows[0][:, :1], unasked])], calibration)
    assert (part.speech_s, part.own_speech) == (None, None)

"""Batches: what is in them, and that nothing but seed, epoch and number decides it."""

from pathlib import Path

import numpy as np
import pytest

from fac_stream.errors import ConfigError
from training.dataset import Corpus
from training.loader import batches
from training.manifest import Clip, Label, ManifestError, Split
from training.mixture import Batch, Mixture
from training.pcm import WINDOW, PcmCache, to_float
from training.recipe import Recipe

SETTINGS = {"name": "x", "sampling": "paired", "windows_per_epoch": 64, "batch_size": 16}


def mixture(tones, **changes) -> Mixture:
    """Of the tones, by a small recipe."""
    return Mixture.of(Recipe(**SETTINGS | changes), Corpus.open(tones))


def same(one: Batch, other: Batch) -> bool:
    """To the last bit."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in Batch.__dataclass_fields__
    )


def test_workers_change_nothing(tones):
    """The batches of two epochs, in order, are those that are made without workers."""
    mix = mixture(tones, augment={"noise": 0.5, "gain": 0.5, "time_mask": 0.5}, nonspeech=0.25, mixup=0.5)
    keys = [(epoch, number) for epoch in range(2) for number in range(mix.batches)]
    alone, helped = (list(batches(mix, keys, count)) for count in (0, 2))
    assert len(alone) == len(helped) == 8
    assert all(map(same, alone, helped))
    assert not same(alone[0], alone[1])
    assert not same(alone[0], alone[4])


@pytest.mark.parametrize("sampling", ["plain", "paired"])
def test_a_window_names_the_clip_that_it_is_cut_from(tones, sampling):
    """By its number among the training clips that are left; what holds no speech, and copies, name none."""
    mix = mixture(tones, sampling=sampling, nonspeech=0.25, holdout=["page-1"])
    batch = mix.batch(0, 0)
    assert (batch.clips[batch.speech == 0.0] == -1).all()
    for wave, clip, synthetic in zip(batch.waves, batch.clips, batch.synthetic, strict=True):
        if clip >= 0:
            assert (mix.speech.clips[clip].label == Label.FAKE) == bool(synthetic)
            pcm = to_float(mix.speech.pcm[clip])
            assert np.isin(wave, pcm).all()
    copied = mixture(tones, copies={"phase": 1.0}).batch(0, 0)
    assert (copied.clips[copied.synthetic == 1.0] == -1).all()
    assert (copied.clips[copied.synthetic == 0.0] >= 0).all()


def test_what_a_worker_cannot_do_is_raised_in_the_trainer(tones):
    """Its error ends the training with its reason, instead of leaving it to wait."""
    mix = mixture(tones)
    mix.settings = Recipe(**SETTINGS, copies={"world": 1.0})
    with pytest.raises(RuntimeError, match="nothing makes them"):
        next(batches(mix, [(0, 0)], 1))


@pytest.mark.parametrize("sampling", ["plain", "uniform", "paired"])
def test_a_batch_has_its_share_of_each(tones, sampling):
    """A quarter without speech; half of the rest synthetic; plain takes every clip once."""
    mix = mixture(tones, sampling=sampling, nonspeech=0.25)
    every = [mix.batch(0, number) for number in range(mix.batches)]
    for batch in every:
        assert batch.waves.shape == (16, WINDOW)
        assert batch.waves.dtype == np.float32
        assert batch.speech.tolist() == [1.0] * 12 + [0.0] * 4
        assert not batch.synthetic[12:].any()
        if sampling != "plain":
            assert batch.synthetic.sum() == 6
    once = mixture(tones, sampling="plain", windows_per_epoch=None)
    whole = [once.batch(0, number) for number in range(once.batches)]
    assert [len(batch.waves) for batch in whole] == [12, 12]
    assert sum(batch.synthetic.sum() for batch in whole) == 12


def test_nonspeech_is_drawn_by_kind_and_cut_anywhere(tones):
    """One recording of hold music comes up as often as nine of rain, also where the music pauses."""
    clips = [Clip(Path(), Label.NONSPEECH, Split.TRAIN, kind="rain")] * 9
    clips.append(Clip(Path(), Label.NONSPEECH, Split.TRAIN, kind="hold music"))
    ends = 4 * WINDOW * (np.arange(10) + 1)
    samples = np.repeat(np.arange(1, 11, dtype=np.int16), 4 * WINDOW)
    samples[-3 * WINDOW :] = 0
    nonspeech = Corpus(clips, PcmCache(samples, ends - 4 * WINDOW, ends))
    mix = Mixture(Recipe(**SETTINGS, nonspeech=0.75), mixture(tones).speech, nonspeech)
    drawn = np.concatenate([mix.batch(0, number).waves[4:] for number in range(20)]) * 32768
    assert len(drawn) == 240
    rain = [row.max() for row in drawn if row.min() > 0 and row.max() < 10]
    assert 0.4 < len(rain) / len(drawn) < 0.6
    assert set(rain) == set(range(1, 10))
    assert any(not row.any() for row in drawn)


def test_a_copy_stands_beside_its_original_in_the_same_place_and_channel(tones):
    """Where the copier changes nothing, both halves of every pair are the same to the last bit."""
    line = dict.fromkeys(("gain", "noise", "gaussian_noise", "telephone", "time_mask"), 0.5)
    mix = mixture(tones, augment=line)
    mix.settings = Recipe(**SETTINGS, augment=line, copies={"world": 1.0})
    asked = []

    def copy_of(clip, engine, variant):
        asked.append((mix.speech.clips[clip].label, engine, variant))
        return mix.speech.pcm[clip]

    mix.copy_of = copy_of
    batch = mix.batch(0, 0)
    np.testing.assert_array_equal(batch.waves[::2], batch.waves[1::2])
    np.testing.assert_array_equal(batch.stripes[::2], batch.stripes[1::2])
    assert batch.synthetic.tolist() == [0.0, 1.0] * 8
    assert {(label, engine) for label, engine, _ in asked} == {(Label.REAL, "world")}
    assert {variant for *_, variant in asked} == {0, 1}
    mix.settings = Recipe(**SETTINGS, augment=line, copies={"world": 1.0}, shared_channel=0.0)
    batch = mix.batch(0, 0)
    assert not np.array_equal(batch.waves[::2], batch.waves[1::2])


def test_copies_have_their_share(tones):
    """A quarter of the pairs, the others as sampling has them; humans of copies come from all sources."""
    mix = mixture(tones)
    mix.settings = Recipe(**SETTINGS, copies={"world": 0.2, "griffin_lim": 0.05})
    asked = []

    def copy_of(clip, engine, _):
        asked.append((mix.speech.clips[clip].source, engine))
        return mix.speech.pcm[clip]

    mix.copy_of = copy_of
    for number in range(100):
        mix.batch(0, number)
    engines = [engine for _, engine in asked]
    assert 0.16 < engines.count("world") / 800 < 0.24
    assert 0.02 < engines.count("griffin_lim") / 800 < 0.08
    assert {source for source, _ in asked} == {"page-0", "page-1"}


def test_copies_are_made_where_the_recipe_asks(tones):
    """The fakes of a recipe with copies alone are as long and loud as their humans, and not the same."""
    batch = mixture(tones, copies={"griffin_lim": 1.0}, copy_variants=1).batch(0, 0)
    loudness = np.sqrt(np.mean(np.square(batch.waves), axis=1))
    np.testing.assert_allclose(loudness[::2], loudness[1::2], rtol=0.05)
    assert not (batch.waves[::2] == batch.waves[1::2]).all(axis=1).any()


def test_mixing_keeps_most_of_a_window_and_speech_to_itself(tones):
    """Weights from a half to one for speech, partners among speech only; without mixup nothing is mixed."""
    batch = mixture(tones, nonspeech=0.25, mixup=0.5).batch(0, 0)
    assert (batch.kept[:12] >= 0.5).all()
    assert (batch.kept[:12] < 1.0).any()
    assert sorted(batch.partner[:12]) == list(range(12))
    assert batch.kept[12:].tolist() == [1.0] * 4
    assert batch.partner[12:].tolist() == [12, 13, 14, 15]
    assert (mixture(tones, nonspeech=0.25).batch(0, 0).kept == 1.0).all()


def test_what_the_corpus_lacks_is_named(tones):
    """Music where there is none, and a holdout that leaves one class or nothing known."""
    with pytest.raises(ConfigError, match="asks for music"):
        mixture(tones, augment={"music": 0.1})
    with pytest.raises(ManifestError, match="both classes"):
        mixture(tones, holdout=["page-0", "page-1"])
    with pytest.raises(ManifestError, match="page-7"):
        mixture(tones, holdout=["page-7"])

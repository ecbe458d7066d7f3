"""Every augmentation: chance only in the draw, shape and type kept, a batch like its rows."""

from collections import Counter
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from tests.tones import RATE, sound
from training import augment, codec, telephony
from training.augment import IMAGE, WAVE, augmentations
from training.dataset import Corpus
from training.manifest import Label, Split
from training.pcm import WINDOW

VOICES = np.stack([np.resize(sound(kind, 1), WINDOW) for kind in ("real", "fake", "nonspeech")])
PICTURES = np.random.default_rng(0).normal(size=(3, 1, 128, 200)).astype(np.float32)


@pytest.fixture
def known(tones):
    """All augmentations, with the noise of the tones' corpus."""
    return augmentations(Corpus.open(tones).part(Split.TRAIN, Label.NONSPEECH).pcm)


def batch_for(name):
    """What an augmentation works on."""
    return PICTURES if name in IMAGE else VOICES


def test_all_are_known_and_have_a_place(known):
    """What a recipe may name is what there is; without recordings there is no noise."""
    assert set(known) == {*WAVE, *IMAGE}
    assert set(augmentations(None)) == set(known) - {"noise"}


@pytest.mark.parametrize("name", [*WAVE, *IMAGE])
def test_chance_is_only_in_the_draw(known, name):
    """Equal seeds draw equal parameters, which are frozen; equal parameters give equal samples."""
    change, batch = known[name], batch_for(name)
    first, again, other = (change.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(FrozenInstanceError):
        setattr(first, fields(first)[0].name, None)
    once, twice = change.apply(batch[0], first), change.apply(batch[0], again)
    np.testing.assert_array_equal(once, twice)
    assert not np.array_equal(once, batch[0])


@pytest.mark.parametrize("name", [*WAVE, *IMAGE])
def test_a_batch_is_changed_as_its_rows(known, name):
    """Shape, float32 and finiteness are kept, the input is not written to, and the rows do not mix."""
    change, batch = known[name], batch_for(name)
    kept = batch.copy()
    for seed in range(4):
        parameters = change.draw(np.random.default_rng(seed))
        changed = change.apply(batch, parameters)
        assert changed.shape == batch.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        rows = np.stack([change.apply(row, parameters) for row in batch])
        np.testing.assert_allclose(changed, rows, atol=1e-6)
    np.testing.assert_array_equal(batch, kept)


@pytest.mark.parametrize("name", WAVE)
def test_digital_silence_is_survived(known, name):
    """No NaN, and nothing louder than the noise that was asked for."""
    changed = known[name].apply(np.zeros(WINDOW, np.float32), known[name].draw(np.random.default_rng(0)))
    assert np.isfinite(changed).all()
    assert np.abs(changed).max() < 0.06


@pytest.mark.parametrize(("name", "axis"), [("time_mask", -1), ("frequency_mask", -2)])
def test_masks_are_filled_with_the_mean(known, name, axis):
    """One or two stripes of at most 20 are 0 over the whole other axis; the rest is as it was."""
    for seed in range(20):
        masked = known[name].apply(PICTURES[0], known[name].draw(np.random.default_rng(seed)))
        lines = np.moveaxis(masked[0], axis, 0)
        empty = ~lines.any(axis=1)
        assert 1 <= empty.sum() <= 40
        np.testing.assert_array_equal(lines[~empty], np.moveaxis(PICTURES[0, 0], axis, 0)[~empty])


def test_gaussian_noise_has_the_drawn_deviation(known):
    """What is added to silence has that standard deviation, between 0.001 and 0.01."""
    parameters = known["gaussian_noise"].draw(np.random.default_rng(5))
    noise = known["gaussian_noise"].apply(np.zeros(WINDOW, np.float32), parameters)
    assert 0.001 <= parameters.deviation <= 0.01
    assert noise.std() == pytest.approx(parameters.deviation, rel=0.02)


@pytest.mark.parametrize("name", ["mp3", "aac", "opus", "vorbis"])
def test_codecs_are_real_and_do_not_delay(name):
    """More bits come closer to the original, sample by sample: the encoder's delay is taken out."""
    coded = [codec.Codec().apply(VOICES[0], codec.Quality(name, rate)) for rate in (16_000, 48_000)]
    errors = [np.std(samples - VOICES[0]) for samples in coded]
    assert 0 < errors[1] < errors[0] < 0.9 * np.std(VOICES[0])


def test_every_codec_and_quality_is_drawn():
    """Four codecs at three bit rates, none forgotten."""
    rng = np.random.default_rng(0)
    drawn = Counter(codec.Codec().draw(rng) for _ in range(600))
    assert len(drawn) == 12
    assert min(drawn.values()) > 20


@pytest.mark.parametrize("semitones", [-2.0, 0.7, 2.0])
def test_pitch_moves_by_the_semitones(semitones):
    """A tone of 440 Hz lands within 2 Hz of where it should."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(WINDOW) / RATE).astype(np.float32)
    shifted = augment.PitchShift().apply(tone, augment.Shift(semitones))
    peak = np.abs(np.fft.rfft(shifted * np.hanning(WINDOW))).argmax() / 2
    assert peak == pytest.approx(440 * 2 ** (semitones / 12), abs=2)


def test_a_telephone_passes_its_band_only():
    """1 kHz goes through, 100 Hz and 5 kHz do not; every codec comes up."""
    change = telephony.Telephone(low_hz=(300, 300), high_hz=(3400, 3400))
    lines = [change.draw(np.random.default_rng(seed)) for seed in range(20)]
    assert len({line.coding.codec for line in lines}) == 4
    for line in lines:
        for hertz, passes in ((100, False), (1000, True), (5000, False)):
            tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(WINDOW) / RATE).astype(np.float32)
            assert (np.std(change.apply(tone, line)) > 0.5 * np.std(tone)) == passes


def test_noise_has_the_drawn_ratio(known):
    """The difference to the clean voice is as far below it as drawn, whatever the level of the recording."""
    for seed in range(5):
        parameters = known["noise"].draw(np.random.default_rng(seed))
        for voice in (VOICES[0], 0.01 * VOICES[0]):
            noise = known["noise"].apply(voice, parameters) - voice
            ratio = 10 * np.log10(np.mean(voice**2) / np.mean(noise**2))
            assert ratio == pytest.approx(parameters.snr_db, abs=0.2)


def test_gain_clips_as_a_sound_card():
    """Level moves by the decibels, but never past full scale."""
    louder = augment.Gain().apply(VOICES[0] / np.abs(VOICES[0]).max(), augment.Decibels(6.0))
    quieter = augment.Gain().apply(VOICES[0], augment.Decibels(-6.0))
    assert np.abs(louder).max() == 1.0
    assert np.std(quieter) == pytest.approx(np.std(VOICES[0]) * 10 ** (-6 / 20), rel=1e-4)

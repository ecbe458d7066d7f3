"""Every augmentation: chance only in the draw, shape and type kept, a batch like its rows."""

from collections import Counter
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from tests.tones import RATE, sound
from training import augment, level, noise, rate, rawboost
from training.augment import IMAGE, WAVE, augmentations
from training.codec import Codec, Quality
from training.pcm import WINDOW, PcmCache

VOICES = np.stack([np.resize(sound(kind, 1), WINDOW) for kind in ("real", "fake", "nonspeech")])
PICTURES = np.random.default_rng(0).normal(3.0, 1.0, size=(3, 1, 128, 200)).astype(np.float32)


def recordings(*clips):
    """A cache of these clips, float ``[n]`` each."""
    ends = np.cumsum([len(clip) for clip in clips])
    samples = (32767 * np.concatenate(clips)).astype(np.int16)
    return PcmCache(samples, np.concatenate([[0], ends[:-1]]), ends)


KNOWN = augmentations(recordings(VOICES[2], 0.1 * VOICES[2][:9000]), recordings(VOICES[1]))


def batch_for(name):
    """What an augmentation works on."""
    return PICTURES if name in IMAGE else VOICES


def test_all_are_known_and_have_a_place():
    """What a recipe may name is what there is; without recordings there is neither noise nor music."""
    assert set(KNOWN) == {*WAVE, *IMAGE}
    assert len(KNOWN) == len(WAVE) + len(IMAGE)
    assert set(augmentations(None)) == set(KNOWN) - {"noise", "music"}
    assert set(augmentations(recordings(VOICES[2]))) == set(KNOWN) - {"music"}


@pytest.mark.parametrize("name", [*WAVE, *IMAGE])
def test_chance_is_only_in_the_draw(name):
    """Equal seeds draw equal parameters, which are frozen; equal parameters give equal samples."""
    change, batch = KNOWN[name], batch_for(name)
    first, again = (change.draw(np.random.default_rng(1)) for _ in range(2))
    assert first == again
    others = [change.draw(np.random.default_rng(seed)) for seed in range(2, 12)]
    assert any(first != other for other in others) == (name not in {"g722", "gsm"})  # one codec, one bit rate
    with pytest.raises(FrozenInstanceError):
        setattr(first, fields(first)[0].name, None)
    once, twice = change.apply(batch[0], first), change.apply(batch[0], again)
    np.testing.assert_array_equal(once, twice)
    assert not np.array_equal(once, batch[0])


@pytest.mark.parametrize("name", [*WAVE, *IMAGE])
def test_a_batch_is_changed_as_its_rows(name):
    """Shape, float32 and finiteness are kept, the input is not written to, and the rows do not mix."""
    change, batch = KNOWN[name], batch_for(name)
    kept = batch.copy()
    for seed in range(3):
        parameters = change.draw(np.random.default_rng(seed))
        changed = change.apply(batch, parameters)
        assert changed.shape == batch.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        rows = np.stack([change.apply(row, parameters) for row in batch])
        np.testing.assert_allclose(changed, rows, atol=1e-6)
    np.testing.assert_array_equal(batch, kept)


@pytest.mark.parametrize("name", WAVE)
@pytest.mark.parametrize("length", [WINDOW, 20_001, 1_600])
def test_any_length_of_silence_is_survived(name, length):
    """No NaN, and nothing louder than the noise that was asked for."""
    changed = KNOWN[name].apply(np.zeros(length, np.float32), KNOWN[name].draw(np.random.default_rng(0)))
    assert changed.shape == (length,)
    assert np.isfinite(changed).all()
    assert np.abs(changed).max() < 0.06


@pytest.mark.parametrize("name", sorted({*WAVE} - {"speed", "pitch_shift"}))
def test_what_is_heard_stays_in_time(name):
    """Bursts of noise peak where they did, to 2 ms (5 ms in a room, whose echoes can be the louder part).

    Labels do not depend on it, but the pairs of original and copy that pass the same channel do.
    """
    rng = np.random.default_rng(3)
    bursts = 0.1 * rng.standard_normal(WINDOW) * np.repeat(rng.random(200) > 0.6, WINDOW // 200)
    spectrum = np.fft.rfft(bursts) * (np.fft.rfftfreq(WINDOW, 1 / RATE) < 3000)
    clean = np.fft.irfft(spectrum).astype(np.float32)
    for seed in range(6):
        changed = KNOWN[name].apply(clean, KNOWN[name].draw(np.random.default_rng(seed)))
        likeness = np.fft.irfft(np.fft.rfft(changed, 2 * WINDOW) * np.fft.rfft(clean, 2 * WINDOW).conj())
        lag = (np.abs(likeness).argmax() + WINDOW) % (2 * WINDOW) - WINDOW
        assert abs(lag) <= (80 if name == "room" else 32)


@pytest.mark.parametrize(("name", "axis"), [("time_mask", -1), ("frequency_mask", -2)])
def test_masks_are_filled_with_the_mean(name, axis):
    """One or two stripes of at most 20 hold the image's mean over the whole other axis; the rest is kept."""
    for seed in range(20):
        masked = KNOWN[name].apply(PICTURES[0], KNOWN[name].draw(np.random.default_rng(seed)))
        lines = np.moveaxis(masked[0], axis, 0)
        empty = (lines == lines[:, :1]).all(axis=1)
        assert 1 <= empty.sum() <= 40
        np.testing.assert_allclose(lines[empty], PICTURES[0].mean(), rtol=1e-5)
        np.testing.assert_array_equal(lines[~empty], np.moveaxis(PICTURES[0, 0], axis, 0)[~empty])


def test_gaussian_noise_has_the_drawn_deviation():
    """What is added to silence has that standard deviation, between 0.001 and 0.01."""
    parameters = KNOWN["gaussian_noise"].draw(np.random.default_rng(5))
    added = KNOWN["gaussian_noise"].apply(np.zeros(WINDOW, np.float32), parameters)
    assert 0.001 <= parameters.deviation <= 0.01
    assert added.std() == pytest.approx(parameters.deviation, rel=0.02)


@pytest.mark.parametrize("name", ["noise", "music"])
def test_noise_has_the_drawn_ratio(name):
    """The difference to the clean voice is as far below it as drawn, whatever the level of the recording."""
    drawn = [KNOWN[name].draw(np.random.default_rng(seed)) for seed in range(40)]
    assert min(parameters.snr_db for parameters in drawn) >= 0
    assert max(parameters.snr_db for parameters in drawn) <= 30
    for parameters in drawn[:5]:
        for voice in (VOICES[0], 0.01 * VOICES[0]):
            added = KNOWN[name].apply(voice, parameters) - voice
            ratio = 10 * np.log10(np.mean(voice**2) / np.mean(added**2))
            assert ratio == pytest.approx(parameters.snr_db, abs=0.2)


def test_pink_noise_loses_three_decibels_an_octave():
    """Each octave holds the same power; the deviation is 1."""
    power = np.abs(np.fft.rfft(noise.pink(WINDOW))) ** 2
    octaves = [power[2 * low : 4 * low].sum() for low in (100, 400, 1600, 3200)]
    np.testing.assert_allclose(octaves, octaves[0], rtol=0.05)
    assert noise.pink(WINDOW).std() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("name", ["mp3", "aac", "opus", "vorbis"])
def test_codecs_are_real_and_do_not_delay(name):
    """More bits come closer to the original, sample by sample: the encoder's delay is taken out."""
    coded = [Codec().apply(VOICES[0], Quality(name, bits)) for bits in (16_000, 48_000)]
    errors = [np.std(samples - VOICES[0]) for samples in coded]
    assert 0 < errors[1] < errors[0] < 0.9 * np.std(VOICES[0])


def test_every_codec_and_quality_is_drawn():
    """Four codecs at three bit rates, none forgotten."""
    rng = np.random.default_rng(0)
    drawn = Counter(Codec().draw(rng) for _ in range(600))
    assert len(drawn) == 12
    assert min(drawn.values()) > 20


def tone(hertz):
    """A sine of two seconds, float32 ``[32000]``."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(WINDOW) / RATE).astype(np.float32)


def pitch_of(samples):
    """Hertz of the strongest line, to half a Hertz."""
    return np.abs(np.fft.rfft(samples * np.hanning(WINDOW))).argmax() / 2


@pytest.mark.parametrize("semitones", [-2.0, 0.7, 2.0])
def test_pitch_moves_by_the_semitones(semitones):
    """A tone of 440 Hz lands within 2 Hz of where it should."""
    shifted = augment.PitchShift().apply(tone(440), augment.Shift(semitones))
    assert pitch_of(shifted) == pytest.approx(440 * 2 ** (semitones / 12), abs=2)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_moves_the_pitch_with_it(factor):
    """A tone of 440 Hz is heard at as many times its frequency."""
    assert pitch_of(rate.Speed().apply(tone(440), rate.Tempo(factor))) == pytest.approx(440 * factor, abs=2)


@pytest.mark.parametrize("hertz", rate.Resample().rates)
def test_a_rate_keeps_what_is_below_half_of_it(hertz):
    """1 kHz comes back as it was, through every rate; 6 kHz only through those that can hold it."""
    detour = rate.Detour(hertz, "HQ")
    np.testing.assert_allclose(
        rate.Resample().apply(tone(1000), detour)[500:-500], tone(1000)[500:-500], atol=1e-3
    )
    assert (np.std(rate.Resample().apply(tone(6000), detour)) > 0.1) == (hertz > 13_000)


def test_gain_is_that_of_a_sound_card():
    """Level moves by the decibels, in steps of 16 bits, and never past full scale."""
    louder = level.Gain().apply(VOICES[0] / np.abs(VOICES[0]).max(), level.Decibels(6.0))
    quieter = level.Gain().apply(VOICES[0], level.Decibels(-36.0))
    assert 1.0 - 2**-15 <= np.abs(louder).max() <= 1.0
    assert np.std(quieter) == pytest.approx(np.std(VOICES[0]) * 10 ** (-36 / 20), rel=1e-3)
    np.testing.assert_array_equal(quieter * 32768, np.rint(quieter * 32768))


@pytest.mark.parametrize("soft", [False, True])
def test_clipping_stops_at_its_percentile(soft):
    """Nothing is louder than the percentile of the magnitudes; hard clipping keeps what was below."""
    top = np.percentile(np.abs(VOICES[0]), 95)
    clipped = level.Clipping().apply(VOICES[0], level.Ceiling(95.0, soft))
    assert np.abs(clipped).max() <= top * (1 + 1e-6)
    below = np.abs(VOICES[0]) < top
    assert np.array_equal(clipped[below], VOICES[0][below]) != soft


def test_a_gain_control_levels_loud_and_quiet():
    """A voice that is 30 dB louder in its second half ends up at most 6 dB louder, and near the target."""
    halves = np.concatenate((0.01 * VOICES[1][: WINDOW // 2], 0.316 * VOICES[1][: WINDOW // 2]))
    levelled = level.GainControl().apply(halves, level.Control(-20.0, 40.0, 0.01, 0.05))
    quiet, loud = (20 * np.log10(np.std(part)) for part in (levelled[8_000:15_000], levelled[20_000:31_000]))
    assert abs(loud - quiet) < 6
    assert loud == pytest.approx(-20, abs=2)


def test_a_gain_control_does_not_raise_the_background():
    """Its gain stands still between words, and never exceeds its limit."""
    hum = np.full(WINDOW, 1e-5, np.float32)
    hum[:8_000] = VOICES[1][:8_000]
    levelled = level.GainControl().apply(hum, level.Control(-12.0, 12.0, 0.01, 0.1))
    assert np.abs(levelled[10_000:]).max() <= 1e-5 * 10 ** (12 / 20) * 1.001


def boost(*kinds, share=0.1, snr_db=20.0):
    """Distortion with the filters of seed 0."""
    drawn = rawboost.RawBoost().draw(np.random.default_rng(0))
    return rawboost.Distortion(kinds, drawn.powers, share, drawn.colour, snr_db, 7)


def test_rawboost_distorts_by_its_three_kinds():
    """Convolution adds harmonics; impulses hit their share of samples; noise has its ratio."""
    change = rawboost.RawBoost()
    spectrum = np.abs(np.fft.rfft(change.apply(tone(1000), boost("convolutive")) * np.hanning(WINDOW)))
    assert spectrum[2 * 2000] > 20 * spectrum[2 * 2500]
    struck = change.apply(VOICES[0], boost("impulsive")) / VOICES[0]
    assert np.mean(np.abs(struck / np.median(struck) - 1) > 1e-4) == pytest.approx(0.1, abs=0.01)
    noisy = change.apply(VOICES[0], boost("stationary"))
    noisy *= np.dot(VOICES[0], VOICES[0]) / np.dot(noisy, VOICES[0])
    ratio = 10 * np.log10(np.mean(VOICES[0] ** 2) / np.mean((noisy - VOICES[0]) ** 2))
    assert ratio == pytest.approx(20, abs=0.5)


def test_every_series_of_rawboost_is_drawn():
    """Each of the five comes up; a notch is a notch: the filter's response falls by 10 dB where it is set."""
    rng = np.random.default_rng(0)
    assert len(Counter(rawboost.RawBoost().draw(rng).kinds for _ in range(100))) == 5
    taps = rawboost.Filter((rawboost.Notch(2000.0, 800.0, 99),), 0.0).taps()
    response = np.abs(np.fft.rfft(taps, 16_000))
    assert response.max() == pytest.approx(1.0, rel=1e-2)
    assert response[2000] < 0.3

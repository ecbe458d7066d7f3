import numpy as np
import pytest

from fac_model.quality import FLAGS, QualityRange, is_telephone, measure

RATE = 16_000
TIME_S = np.arange(32_000) / RATE
SPAN = QualityRange((-40.0, -10.0), (3_800.0, 8_000.0), (0.0, 0.01), (10.0, 60.0))
"""Of a bundle that was calibrated on usual speech."""


def rows(*waves):
    """Waves as windows, float32 ``[B, 32000]``."""
    return np.stack(waves).astype(np.float32)


def noise(dbfs=-20.0, seed=0):
    """White noise of a level."""
    return 10 ** (dbfs / 20) * np.random.default_rng(seed).normal(size=32_000)


def limited(wave, hertz, floor_db=-200.0):
    """Without what lies above a frequency, but for a floor so far below."""
    spectrum = np.fft.rfft(wave)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE) > hertz] *= 10 ** (floor_db / 20)
    return np.fft.irfft(spectrum, len(wave))


def syllables(wave, floor=0.0):
    """Three bursts a second, over a floor."""
    return wave * np.maximum(floor, np.sin(2 * np.pi * 3 * TIME_S))


def test_level_is_rms_relative_to_full_scale():
    """Noise has the level it was made with; a full-scale sine lies 3 dB below; silence has none."""
    sine = np.sin(2 * np.pi * 440 * TIME_S)
    level = measure(rows(noise(-60.0), sine, np.zeros(32_000))).level_dbfs
    assert level[:2] == pytest.approx([-60.0, -3.01], abs=0.1)
    assert level[2] == -np.inf


@pytest.mark.parametrize("hertz", [1_000, 2_500, 3_900, 5_500, 7_000])
def test_bandwidth_is_where_the_sound_ends(hertz):
    """Low-passed noise has the bandwidth of the filter, to a band, whatever its level."""
    for gain in (1.0, 1e-3):
        (found,) = measure(rows(gain * limited(noise(), hertz))).bandwidth_hz
        assert hertz - 125 <= found <= hertz + 250


def test_bandwidth_of_silence_is_none():
    """Nothing is heard, and nothing is called a telephone."""
    quality = measure(rows(np.zeros(32_000)))
    assert quality.bandwidth_hz == [0.0]
    assert not quality.telephone[0]


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (noise(), False),
        (limited(noise(), 7_000), False),
        (limited(noise(), 5_000), False),
        (limited(noise(), 3_900), True),
        (limited(noise(), 2_000), True),
        (limited(noise(), 3_900, floor_db=-35.0), True),
        (limited(noise(), 3_900, floor_db=-15.0), False),
    ],
)
def test_a_telephone_has_nothing_above_four_kilohertz(wave, expected):
    """An empty upper band is a telephone, also under a codec's faint noise; a quiet one is not."""
    assert is_telephone(rows(wave, 0.01 * wave)).tolist() == [expected, expected]


def test_clipping_is_seen_at_any_level():
    """A voice-like sound has few samples at its peak; one that was clipped has many, also made quieter."""
    voice = syllables(noise())
    clipped = np.clip(voice, -0.1, 0.1)
    share = measure(rows(voice, clipped, 0.1 * clipped)).clipped_share
    assert share[0] < 1e-3
    assert share[1] > 0.05
    assert share[2] == pytest.approx(share[1])


def test_noise_between_words_lowers_the_ratio():
    """Bursts over a floor 20 dB below them have about that ratio; steady noise has none."""
    found = measure(rows(syllables(noise(), floor=0.1), noise(), syllables(noise()))).snr_db
    assert found[0] == pytest.approx(20.0, abs=2.0)
    assert found[1] < 2.0
    assert found[2] > 60.0
    assert (found <= 100.0).all()


def test_batch_equals_single():
    """A window is measured alike in any company."""
    waves = rows(noise(), limited(noise(), 3_900), np.zeros(32_000), syllables(noise(-50.0)))
    together = measure(waves)
    for i, wave in enumerate(waves):
        alone = measure(wave[None])
        for name in ("level_dbfs", "bandwidth_hz", "clipped_share", "snr_db", "telephone"):
            assert getattr(alone, name)[0] == pytest.approx(getattr(together, name)[i], rel=1e-5)


def test_chosen_windows_keep_their_measures():
    """A choice of windows is the measures of those."""
    waves = rows(noise(), limited(noise(), 2_000), noise(-50.0))
    chosen = measure(waves)[np.array([True, False, True])]
    assert chosen.level_dbfs == pytest.approx(measure(waves[[0, 2]]).level_dbfs)


@pytest.mark.parametrize(
    ("wave", "flags"),
    [
        (syllables(noise()), []),
        (syllables(noise(-60.0)), ["quiet"]),
        (noise(-60.0), ["quiet", "noisy"]),
        (syllables(limited(noise(), 2_000)), ["narrowband"]),
        (np.clip(20.0 * syllables(noise()), -1.0, 1.0), ["clipped"]),
        # A tone is as steady as noise.
        (np.clip(4.0 * np.sin(2 * np.pi * 200 * TIME_S), -1.0, 1.0), ["clipped", "noisy"]),
        (noise(), ["noisy"]),
    ],
)
def test_what_leaves_the_range_is_flagged(wave, flags):
    """Golden signals: a usual one has no flag, and each fault has its own; too loud or too wide is none."""
    assert SPAN.flags(measure(rows(wave))) == [flags]


def test_the_range_covers_nearly_all_that_it_was_made_of():
    """From the 1st to the 99th percentile of each measure."""
    quality = measure(rows(*(syllables(noise(-40.0 + i / 10, seed=i)) for i in range(200))))
    span = QualityRange.of(quality)
    low, high = span.level_dbfs
    assert ((quality.level_dbfs < low).sum(), (quality.level_dbfs > high).sum()) == (2, 2)
    flagged = [name for flags in span.flags(quality) for name in flags]
    assert all(flagged.count(flag) <= 2 for flag in FLAGS)

"""Call codecs, lossy lines, rooms, and the conditions of evaluation."""

from collections import Counter

import numpy as np
import pytest

from tests.tones import RATE, sound
from training import channel, packet_loss, room, telephony
from training.pcm import WINDOW

VOICE = np.resize(sound("real", 1), WINDOW)


def tone(hertz):
    """A sine of two seconds, float32 ``[32000]``."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(WINDOW) / RATE).astype(np.float32)


def held(samples, hertz):
    """Level of a tone in decibels against the 0.3 it was made with."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(WINDOW))) / np.hanning(WINDOW).sum() * 2
    return 20 * np.log10(spectrum[2 * hertz - 4 : 2 * hertz + 5].max() / 0.3 + 1e-9)


@pytest.mark.parametrize("name", channel.CONDITIONS)
def test_conditions_are_fixed(name):
    """The same samples give the same samples, of the same shape, and a batch is treated as its rows."""
    condition = channel.CONDITIONS[name]
    batch = np.stack([VOICE, 0.3 * VOICE[::-1]]).astype(np.float32)
    changed = condition(batch)
    assert changed.shape == batch.shape
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(changed, condition(batch))
    np.testing.assert_allclose(changed, np.stack([condition(row) for row in batch]), atol=1e-6)
    assert np.array_equal(changed, batch) == (name == "wideband")
    assert np.isfinite(condition(np.zeros(WINDOW, np.float32))).all()


def test_the_conditions_are_what_they_are_called():
    """Noise is 10 dB down, the Opus call loses 5 of its 100 packets, the room sounds half a second."""
    added = channel.CONDITIONS["noise_10db"](VOICE) - VOICE
    assert 10 * np.log10(np.mean(VOICE**2) / np.mean(added**2)) == pytest.approx(10, abs=0.01)
    assert channel.LOSSY_OPUS.loss.lost(100).sum() == 5
    assert reverberation_s(room.response(room.OFFICE)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("codec", "bit_rate", "top_hz"),
    [
        ("mulaw", 64_000, 3_500),
        ("alaw", 64_000, 3_500),
        ("gsm", 13_000, 3_000),
        ("amr", 12_200, 3_000),
        ("amr", 4_750, 2_000),
        ("g722", 64_000, 6_500),
        ("opus", 24_000, 6_500),
    ],
)
def test_a_codec_keeps_its_band(codec, bit_rate, top_hz):
    """A tone inside comes out within 6 dB; for the narrowband ones 5 kHz is gone."""
    coded = telephony.carried(tone(top_hz), telephony.Coding(codec, bit_rate))
    assert held(coded, top_hz) > -6
    if top_hz < 4_000:
        assert held(telephony.carried(tone(5_000), telephony.Coding(codec, bit_rate)), 5_000) < -50


@pytest.mark.parametrize("codec", ["amr", "opus"])
def test_more_bits_are_closer(codec):
    """The lowest bit rate is further from the original than the highest."""
    rates = dict((*telephony.AMR, *telephony.OPUS))[codec]
    errors = [
        np.std(telephony.carried(VOICE, telephony.Coding(codec, bits)) - VOICE)
        for bits in (rates[0], rates[-1])
    ]
    assert errors[1] < errors[0]


def test_a_telephone_passes_its_band_only():
    """1 kHz goes through, 100 Hz and 5 kHz do not; every codec comes up, and loss now and then."""
    change = telephony.Telephone(low_hz=(300, 300), high_hz=(3400, 3400))
    lines = [change.draw(np.random.default_rng(seed)) for seed in range(60)]
    assert {line.coding.codec for line in lines} == {"mulaw", "alaw", "gsm", "amr"}
    assert 3 < sum(line.coding.loss is not None for line in lines) < 25
    for codec, bit_rate in (("mulaw", 64_000), ("alaw", 64_000), ("gsm", 13_000), ("amr", 12_200)):
        line = telephony.Line(telephony.Coding(codec, bit_rate), 300, 3400)
        for hertz, passes in ((100, False), (1000, True), (5000, False)):
            assert (held(change.apply(tone(hertz), line), hertz) > -6) == passes


def test_a_band_limit_is_no_codec():
    """What is inside the band comes back bit for bit, but for rounding; what is outside does not."""
    change, band = telephony.BandLimit(), telephony.Band(300, 3400)
    np.testing.assert_allclose(change.apply(tone(1000), band), tone(1000), atol=1e-5)
    assert max(held(change.apply(tone(hertz), band), hertz) for hertz in (100, 3_700)) < -50


@pytest.mark.parametrize(("share", "burst"), [(0.05, 1 / 0.95), (0.2, 1.25), (0.1, 4.0)])
def test_losses_are_as_many_and_as_long_as_asked(share, burst):
    """Share of the packets, and the mean length of a run, over many packets; equal seeds lose the same."""
    line = packet_loss.Loss(20, share, burst, 3)
    lost = line.lost(200_000)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], lost, [0])))))[::2]
    assert lost.mean() == pytest.approx(share, rel=0.1)
    assert runs.mean() == pytest.approx(burst, rel=0.1)
    np.testing.assert_array_equal(lost[:50], line.lost(50))


def test_what_arrives_is_not_changed():
    """Only the holes and 10 ms around them differ from what was sent; unconcealed, only the silent holes."""
    line = packet_loss.Loss(20, 0.1, 2.0, 5)
    lost = np.repeat(line.lost(100), 320)
    near = np.convolve(lost, np.ones(2 * 160 + 1), "same") > 0.5
    heard = packet_loss.receive(VOICE, line, RATE)
    np.testing.assert_array_equal(heard[~near], VOICE[~near])
    silent = packet_loss.receive(VOICE, packet_loss.Loss(20, 0.1, 2.0, 5, concealed=False), RATE)
    np.testing.assert_array_equal(silent[~lost], VOICE[~lost])
    assert not silent[lost].any()


def test_a_steady_voice_is_concealed_well():
    """Where the pitch does not move, repetition errs by less than a tenth of what silence errs."""
    steady = sum(np.sin(2 * np.pi * 125 * k * np.arange(WINDOW) / RATE) / k for k in range(1, 10))
    steady = (0.1 * steady).astype(np.float32)
    line = packet_loss.Loss(10, 0.05, 1 / 0.95, 4)
    lost = np.repeat(line.lost(200), 160)
    error = packet_loss.receive(steady, line, RATE) - steady
    assert lost.any()
    assert np.std(error[lost]) < 0.1 * np.std(steady)


def test_a_long_hole_fades_to_silence():
    """As G.711 Appendix I: nothing is invented beyond 60 ms."""
    heard = VOICE.copy()
    packet_loss._conceal(heard, 16_000, 16_000 + 1_600, RATE)
    assert np.std(heard[16_000:16_160]) > 0.5 * np.std(VOICE)
    assert np.abs(heard[16_000 + 960 : 16_000 + 1_600]).max() < 1e-6


@pytest.mark.parametrize("codec", ["opus", "amr", "mulaw", "gsm", "g722"])
def test_lossy_codecs_conceal(codec):
    """With packets lost the result differs, and the holes are not silent: somebody filled them."""
    bit_rate = {"opus": 12_000, "amr": 12_200}.get(codec, 64_000)
    steady = np.resize(sound("fake", 1), WINDOW)
    line = packet_loss.Loss(20, 0.1, 1 / 0.9, 4)
    lost = np.flatnonzero(line.lost(95)[4:]) + 4
    heard = telephony.carried(steady, telephony.Coding(codec, bit_rate, line))
    whole = telephony.carried(steady, telephony.Coding(codec, bit_rate))
    levels = [np.std(heard[320 * number : 320 * number + 320]) for number in lost]
    assert not np.allclose(heard, whole, atol=1e-3)
    assert np.median(levels) > 0.3 * np.std(steady)


def reverberation_s(impulse):
    """Seconds for 60 dB, from the slope between -5 and -35 dB of the backward integral (Schroeder 1965)."""
    energy = np.cumsum(np.square(impulse, dtype=np.float64)[::-1])[::-1]
    decibels = 10 * np.log10(energy / energy[0])
    return 2 * (np.argmax(decibels < -35) - np.argmax(decibels < -5)) / RATE


def test_rooms_sound_as_long_as_asked():
    """The bank spans dry to live; decay times are near those asked for; the direct sound is at the lead."""
    places = room.places()
    assert len(set(places)) == room.BANK
    asked = np.array([place.rt60_s for place in places])
    found = np.array([reverberation_s(room.response(place)) for place in places])
    assert asked.min() < 0.2
    assert asked.max() > 0.7
    assert np.median(np.abs(found / asked - 1)) < 0.1
    for place in places:
        impulse = room.response(place)
        assert np.square(impulse).sum() == pytest.approx(1, rel=1e-4)
        early = np.abs(impulse[: room.LEAD - 20])
        assert early.max() < 0.2 * np.abs(impulse[room.LEAD - 1 : room.LEAD + 2]).max()


def test_a_room_keeps_the_level():
    """RMS after equals RMS before, row by row."""
    change = room.Room()
    for seed in range(5):
        heard = change.apply(VOICE, change.draw(np.random.default_rng(seed)))
        assert np.std(heard) == pytest.approx(np.std(VOICE), rel=1e-2)


def test_every_room_is_drawn():
    """Nearly all of the bank comes up in 500 draws."""
    rng = np.random.default_rng(0)
    assert len(Counter(room.Room().draw(rng) for _ in range(500))) > 0.95 * room.BANK

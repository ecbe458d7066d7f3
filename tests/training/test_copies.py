"""A copy shares all with its original but the waveform, and is made once."""

from pathlib import Path

import numpy as np
import pytest

from fac_stream.errors import ConfigError, FacError
from tests.tones import RATE
from training import copies, synthesis
from training.copies import ENGINES, CopyStore, copy
from training.manifest import Clip, Label, Split
from training.pcm import PcmCache, to_int16


def spoken(seed: int = 0, seconds: float = 1.6) -> np.ndarray:
    """Gliding buzzes of a changing timbre, hiss between them and a faint noise under all: int16."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(rng.uniform(100, 200) + 30 * np.sin(2 * np.pi * 1.3 * t)) / RATE
    buzz = sum(np.sin(k * phase) / k * (1 + 0.5 * np.sin(2 * np.pi * t + k)) for k in range(1, 25))
    hiss = np.diff(rng.normal(0, 0.1, len(t) + 1))
    gate = np.clip(4 * np.sin(2 * np.pi * 2.1 * t), -1, 1)
    return to_int16(0.1 * np.where(gate > 0, gate * buzz, -gate * hiss) + rng.normal(0, 3e-4, len(t)))


def made(pcm: np.ndarray, engine: str, seed: int = 0) -> np.ndarray:
    """A copy with the seed's parameters."""
    return copy(pcm, engine, np.random.default_rng(seed))


def decibels(pcm: np.ndarray) -> float:
    """Root mean square."""
    return 10 * np.log10(np.mean(np.square(pcm, dtype=np.float64)) + 1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_keeps_length_level_and_peak(engine, seed):
    """Same length, RMS within 0.1 dB, and no peak more than 1 dB above the original's."""
    pcm = spoken(seed)
    twin = made(pcm, engine, seed)
    assert twin.shape == pcm.shape
    assert twin.dtype == np.int16
    assert decibels(twin) == pytest.approx(decibels(pcm), abs=0.1)
    assert np.abs(twin.astype(int)).max() <= 1.12 * np.abs(pcm.astype(int)).max()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_copy_is_not_the_original(engine):
    """Above 4 kHz, where every engine works, the difference is at most 12 dB below the original."""
    pcm = spoken()
    upper = np.fft.rfftfreq(len(pcm), 1 / RATE) > 4_000
    for seed in range(4):
        power = [
            np.sum(np.abs(np.fft.rfft(x)[upper]) ** 2)
            for x in (made(pcm, engine, seed) - pcm.astype(float), pcm)
        ]
        assert 10 * np.log10(power[0] / power[1]) > -12


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_dice_give_the_same_copy(engine):
    """All chance is in the generator; another seed gives another copy."""
    pcm = spoken()
    np.testing.assert_array_equal(made(pcm, engine, 1), made(pcm, engine, 1))
    assert (made(pcm, engine, 1) != made(pcm, engine, 2)).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_copy_stands_where_its_original_does(engine):
    """The energy of 10 ms pieces rises and falls at the same time, within 2 ms, over several copies."""
    pcm, window = spoken(3), np.hanning(160)
    twins = np.mean([np.square(made(pcm, engine, seed), dtype=float) for seed in range(4)], axis=0)
    before, after = (
        np.log(np.convolve(x, window, "same") + 1e4) for x in (np.square(pcm, dtype=float), twins)
    )
    before, after = before - before.mean(), after - after.mean()
    lags = np.arange(-160, 161, 4)
    likeness = [before[160:-160] @ after[160 + lag : len(after) - 160 + lag] for lag in lags]
    assert abs(lags[np.argmax(likeness)]) <= 32


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_band_stays_empty(engine):
    """A recording that ends at 3.5 kHz has a copy that ends there: 45 dB less above 3.8 kHz."""
    spectrum = np.fft.rfft(spoken().astype(float))
    hertz = np.fft.rfftfreq(len(spoken()), 1 / RATE)
    narrow = np.fft.irfft(spectrum * (hertz < 3_500), len(spoken())).round().astype(np.int16)
    power = np.abs(np.fft.rfft(made(narrow, engine, 5) * np.hanning(len(narrow)))) ** 2
    assert 10 * np.log10(power[hertz > 3_800].sum() / power.sum()) < -45


@pytest.mark.parametrize("engine", ENGINES)
def test_digital_silence_is_shared(engine):
    """Where the original is exactly silent its copy is, and nowhere else for long."""
    pcm = spoken()
    pcm[8_000:12_000] = 0
    twin = made(pcm, engine, 2)
    assert not twin[8_000:12_000].any()
    assert (np.count_nonzero(twin[:8_000].reshape(-1, 160), axis=1) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_pauses_are_as_loud_as_they_were(seed):
    """The noise floor between words is the original's within 3 dB, kept or made anew."""
    pcm = spoken(1)
    pause = slice(6_000, 10_000)
    pcm[pause] = to_int16(np.random.default_rng(9).normal(0, 3e-4, 4_000))
    inner = slice(6_600, 9_400)
    assert decibels(made(pcm, "griffin_lim", seed)[inner]) == pytest.approx(decibels(pcm[inner]), abs=3)


def test_a_clipped_original_has_a_clipped_copy():
    """What was cut off at a level is cut off there again."""
    pcm = np.clip(spoken().astype(int) * 4, -9_000, 9_000).astype(np.int16)
    twin = np.abs(made(pcm, "source_filter", 3).astype(int))
    assert twin.max() <= 9_000
    assert np.count_nonzero(twin >= 8_999) > 5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(8_000, np.int16),
        np.ones(1, np.int16),
        np.full(500, -32768, np.int16),
        np.tile(np.array([32767, -32768], np.int16), 4_000),
        (np.arange(3_333) == 2_000).astype(np.int16),
    ],
    ids=["silence", "one", "constant", "square", "click"],
)
def test_any_samples_have_a_copy(engine, pcm):
    """Silence, a click, one sample and full scale neither fail nor become louder."""
    twin = made(pcm, engine)
    assert twin.shape == pcm.shape
    assert decibels(twin) <= decibels(pcm) + 0.5


def test_a_long_recording_is_copied_in_pieces(monkeypatch):
    """Memory is bounded by the piece, and nothing is lost between pieces."""
    monkeypatch.setattr(copies, "PIECE", 10_000)
    lengths = []
    engine = ENGINES["phase"]

    class Spy:
        draw = staticmethod(engine.draw)

        def apply(self, samples, parameters):
            lengths.append(len(samples))
            return engine.apply(samples, parameters)

    monkeypatch.setitem(ENGINES, "phase", Spy())
    pcm = spoken()
    assert made(pcm, "phase").shape == pcm.shape
    assert max(lengths) <= 10_000 < sum(lengths) == len(pcm)


def test_linear_prediction_finds_a_resonance():
    """The filter of a known all-pole process comes back from its autocorrelation."""
    truth = np.array([1.0, -1.6, 0.9])
    power = 1 / np.abs(np.fft.rfft(truth, 4096)) ** 2
    found = synthesis.linear_prediction(np.fft.irfft(power)[None, :3])
    np.testing.assert_allclose(found[0], truth, atol=1e-4)


def test_minimum_phase_is_causal():
    """The magnitudes stay and the impulse response begins at once."""
    magnitude = 1 / np.abs(np.fft.rfft([1.0, -0.9], 512))[None]
    spectrum = synthesis.minimum_phase(magnitude)
    np.testing.assert_allclose(np.abs(spectrum), magnitude, rtol=1e-3)
    response = np.fft.irfft(spectrum[0])
    np.testing.assert_allclose(response[:4], [1.0, 0.9, 0.81, 0.729], atol=1e-3)


@pytest.fixture
def corpus(tmp_path) -> tuple[list[Clip], PcmCache]:
    """Two humans and a fake."""
    labels = (Label.REAL, Label.FAKE, Label.REAL)
    clips = [Clip(Path(f"{n}.wav"), label, Split.TRAIN, f"{n}.wav") for n, label in enumerate(labels)]
    sounds = [spoken(n, 0.4 + 0.1 * n) for n in range(3)]
    ends = np.cumsum([len(sound) for sound in sounds])
    return clips, PcmCache(np.concatenate(sounds), np.concatenate([[0], ends[:-1]]), ends)


def test_a_store_holds_the_copies_of_humans(corpus, tmp_path):
    """For each engine and variant one as long as its original, and no two the same; a fake has none."""
    clips, pcm = corpus
    store = CopyStore.of(clips, pcm, {"phase", "griffin_lim"}, 2, folder=tmp_path, processes=1)
    twins = [store(2, engine, variant) for engine in ("phase", "griffin_lim") for variant in range(2)]
    assert [len(twin) for twin in twins] == [len(pcm[2])] * 4
    assert len({twin.tobytes() for twin in twins}) == 4
    with pytest.raises(KeyError):
        store(1, "phase", 0)


def test_a_store_makes_only_what_is_missing(corpus, tmp_path, monkeypatch):
    """After a kill, or for a recipe with one engine more, finished copies stay; the result is the same."""
    clips, pcm = corpus
    first = CopyStore.of(clips, pcm, {"phase"}, 2, folder=tmp_path, processes=1)
    kept = first(2, "phase", 1).copy()
    lost = next(tmp_path.rglob("*-phase-1.pcm"))
    lost.unlink()
    asked = []
    render = copies._render
    monkeypatch.setattr(copies, "_render", lambda tasks, n, p: (asked.append(n), render(tasks, n, p)))
    again = CopyStore.of(clips, pcm, {"phase"}, 2, folder=tmp_path, processes=1)
    assert asked == [1]
    np.testing.assert_array_equal(again(2, "phase", 1), kept)
    CopyStore.of(clips[:1], pcm.subset([0]), {"phase"}, 2, folder=tmp_path, processes=1)
    assert asked == [1, 0]
    CopyStore.of(clips, pcm, {"phase"}, 1, seed=1, folder=tmp_path, processes=1)
    assert asked == [1, 0, 2]


def test_processes_change_nothing(corpus, tmp_path):
    """Two processes make what one makes."""
    clips, pcm = corpus
    many = clips * 17, pcm.subset([0, 1, 2] * 17)
    many = [Clip(c.path, c.label, c.split, f"{n}-{c.name}") for n, c in enumerate(many[0])], many[1]
    one = CopyStore.of(*many, {"phase"}, 1, folder=tmp_path / "one", processes=1)
    two = CopyStore.of(*many, {"phase"}, 1, folder=tmp_path / "two", processes=2)
    for number in (0, 29, 50):
        np.testing.assert_array_equal(one(number, "phase", 0), two(number, "phase", 0))
    assert not list(tmp_path.rglob("*.part"))


def test_what_cannot_be_is_said(corpus, tmp_path, monkeypatch):
    """An unknown engine is named beside the known ones; a full disk says what to do."""
    clips, pcm = corpus
    with pytest.raises(ConfigError, match=r"no copy engine vocaloid; there are world, griffin_lim"):
        CopyStore.of(clips, pcm, {"vocaloid"}, 1, folder=tmp_path)
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: type("Room", (), {"free": 1_000}))
    with pytest.raises(FacError, match="set FAC_CACHE"):
        CopyStore.of(clips, pcm, {"phase"}, 1, folder=tmp_path)

import os
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.speech import SpeechGate
from fac_stream.calls.recording import score_recording
from fac_stream.config import Config
from fac_stream.errors import FacError
from fac_stream.scoring.backend import open_scorer
from training import demo
from training.demo import (
    HALF_S,
    LEVEL,
    ORDER,
    SENTENCES,
    build_demo_call,
    level,
    read_wav,
    trim,
    write_wav,
)

RATE = 16_000


def needs_voices(test):
    """Both voices are Debian packages; the continuous integration has them."""
    found = demo.CLIPS.is_dir() or "CI" in os.environ
    test = pytest.mark.skipif(not found, reason=f"{demo.PACKAGE} is not installed")(test)
    return pytest.mark.programs("espeak-ng")(test)


@pytest.fixture(scope="module")
def call_path(tmp_path_factory):
    """The demo call's file."""
    return build_demo_call(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def call(call_path):
    """The demo call, float ``[n]``, and its rate."""
    return soundfile.read(call_path)


@needs_voices
def test_the_halves_differ_in_nothing_but_the_voice(call):
    """Same length, same level, same pauses: only the voice can give the second half away."""
    samples, rate = call
    halves = np.split(samples, 2)

    assert rate == RATE
    assert len(samples) == 2 * HALF_S * RATE
    levels_db = [20 * np.log10(half.std()) for half in halves]
    assert abs(levels_db[0] - levels_db[1]) < 1
    assert np.abs(samples).max() < 1
    for half in halves:
        loud = np.abs(half).reshape(-1, RATE // 2).max(axis=1)
        assert loud.min() > 0.02, "half a second without speech"


def likeness(piece, sound):
    """The highest normalised cross-correlation of a piece with any stretch of a sound, 0 to 1."""
    size = len(sound) + len(piece)
    products = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(piece, size).conj())
    energy = np.concatenate([[0.0], np.cumsum(sound**2)])
    energy = energy[len(piece) :] - energy[: -len(piece)]
    norms = np.sqrt(np.maximum(energy, 1e-3) * np.sum(piece**2))
    return np.abs(products[: len(energy)] / norms).max()


@needs_voices
def test_the_second_half_is_made_by_machines(call):
    """Nothing that the person says is played again: espeak-ng begins, copies of the vocoder follow."""
    samples, _ = call
    human, synthetic = np.split(samples, 2)
    words = [human[start : start + RATE // 2] for start in range(0, len(human) - RATE // 2, RATE // 2)]

    assert min(likeness(word, human) for word in words) > 0.99
    assert max(likeness(word, synthetic) for word in words) < 0.9
    assert likeness(trim(demo.speak(SENTENCES[0])), synthetic[: 3 * RATE]) > 0.99


@needs_voices
def test_the_meter_rises_clearly(call_path):
    """The shipped bundle scores the second half well above the first: what the demo is there to show."""
    settings = Config()
    gate = SpeechGate(settings.speech.threshold, settings.speech.min_level_dbfs)

    windows = score_recording(call_path, open_scorer(settings.model), gate, settings).windows

    human = [row.score for row in windows if row.score is not None and row.end_s <= HALF_S]
    synthetic = [row.score for row in windows if row.score is not None and row.start_s >= HALF_S]
    assert min(len(human), len(synthetic)) > HALF_S
    assert np.mean(synthetic) > np.mean(human) + 0.15


@needs_voices
def test_the_call_is_the_same_each_time(tmp_path):
    """It is made anew on every start, without a trace of the one before."""
    first = build_demo_call(tmp_path / "a").read_bytes()

    assert build_demo_call(tmp_path / "b").read_bytes() == first
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["demo-call.wav"]


@pytest.mark.parametrize(
    ("clips", "espeak", "packages"),
    [(False, True, demo.PACKAGE), (True, False, "espeak-ng"), (False, False, f"{demo.PACKAGE} espeak-ng")],
)
def test_missing_voices_name_their_packages(tmp_path, monkeypatch, clips, espeak, packages):
    """The message has the command to type."""
    if clips:
        for name in ORDER:
            (tmp_path / f"{name}.wav").touch()
    monkeypatch.setattr(demo, "CLIPS", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/espeak-ng" if espeak else None)

    with pytest.raises(FacError, match=f"sudo apt-get install {packages}$"):
        build_demo_call(tmp_path)


@needs_voices
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """A cache that is a file, for example."""
    (tmp_path / "cache").touch()

    with pytest.raises(FacError, match="the demo call cannot be written"):
        build_demo_call(tmp_path / "cache")


def test_a_broken_clip_is_told(tmp_path):
    """Anything but 16-bit WAV is refused by name."""
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF")
    with pytest.raises(FacError, match=r"clip\.wav"):
        read_wav(path)
    soundfile.write(path, np.zeros(100), RATE, subtype="PCM_24")
    with pytest.raises(FacError, match="not 16 bits"):
        read_wav(path)


@pytest.mark.programs("espeak-ng")
@pytest.mark.parametrize("text", SENTENCES)
def test_every_sentence_is_spoken(text):
    """Each is long enough to be scored."""
    assert len(trim(demo.speak(text))) > 2 * RATE


@settings(max_examples=30)
@given(st.integers(1, 4000), st.floats(1e-4, 1.0))
def test_any_clip_comes_to_the_common_level(length, amplitude):
    """Whatever it was before."""
    clip = (amplitude * np.sin(np.arange(1, length + 1))).astype(np.float32)

    assert np.sqrt(np.mean(level(clip) ** 2)) == pytest.approx(LEVEL, rel=1e-3)


def test_what_is_written_is_read_again(tmp_path):
    """Within half a step of 16 bits."""
    samples = np.linspace(-1, 1, 1000, dtype=np.float32)
    write_wav(tmp_path / "a.wav", samples)

    np.testing.assert_allclose(read_wav(tmp_path / "a.wav"), samples, atol=1e-4)

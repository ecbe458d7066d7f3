import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import FacError
from training import demo
from training.demo import (
    CLIPS,
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
INSTALLED = shutil.which("espeak-ng") is not None and (CLIPS / f"{ORDER[0]}.wav").is_file()
needs_voices = pytest.mark.skipif(not INSTALLED, reason="alsa-utils or espeak-ng is not installed")


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """The demo call, float ``[n]``."""
    return soundfile.read(build_demo_call(tmp_path_factory.mktemp("demo")))


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


@needs_voices
def test_the_second_half_is_made_by_machines(call):
    """No sample of the vocoder's copies is the original's."""
    samples, _ = call
    human, synthetic = np.split(samples, 2)
    first_clip = human[: RATE // 2]

    similarity = np.corrcoef(first_clip, synthetic[: RATE // 2])[0, 1]

    assert abs(similarity) < 0.9


@needs_voices
def test_the_call_is_the_same_each_time(tmp_path):
    """It is made anew on every start, without a trace of the one before."""
    first = build_demo_call(tmp_path / "a").read_bytes()

    assert build_demo_call(tmp_path / "b").read_bytes() == first
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["demo-call.wav"]


@pytest.mark.parametrize(
    ("clips", "espeak", "packages"),
    [(False, True, "alsa-utils"), (True, False, "espeak-ng"), (False, False, "alsa-utils espeak-ng")],
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

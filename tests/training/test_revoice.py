"""Copies by a vocoder of the user's: what they share with their original, and what is refused."""

import csv

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from fac_stream.cli import app
from fac_stream.errors import ConfigError, FacError
from tests.tones import RATE, sound
from training.builder import COLUMNS
from training.manifest import Label, Split, read_manifest
from training.revoice import Voice, likeness, load, matched, revoice

VOICE = Voice("buzz", "lab/buzz", "MIT", "2020")


def buzz(samples, rate):
    """A toy vocoder: the original's envelope on its own rectified wave, too loud and a little too short."""
    assert rate == RATE
    return 3.0 * np.abs(samples)[:-7] + 0.01


def rows(out):
    """The manifest of the copies."""
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rms(samples):
    """Root mean square."""
    return np.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def test_every_training_human_gets_a_copy(tones, tmp_path):
    """As Opus of the same length and level, with a row that names it, its speaker and its vocoder."""
    count, like = revoice(tones, buzz, VOICE, tmp_path)
    humans = {clip.name: clip for clip in read_manifest(tones) if clip.label == Label.REAL}
    copies = read_manifest(tmp_path)
    assert count == len(copies) == 12
    assert tuple(rows(tmp_path)[0]) == COLUMNS
    assert 0.0 < like <= 1.0
    for clip in copies:
        human = humans[clip.original]
        assert (clip.label, clip.split, human.split) == (Label.FAKE, Split.TRAIN, Split.TRAIN)
        assert (clip.speaker, clip.generator, clip.source) == (human.speaker, "buzz", "lab/buzz")
        made, rate = soundfile.read(clip.path)
        wanted, _ = soundfile.read(human.path)
        assert (rate, len(made)) == (RATE, len(wanted))
        assert abs(20 * np.log10(rms(made) / rms(wanted))) < 0.5


def test_rows_repeat_what_is_known_of_the_recording(tmp_path):
    """Rate, codec, band and channel are the original's; what is not known stays empty."""
    soundfile.write(tmp_path / "a.wav", sound("real", 1), RATE)
    (tmp_path / "manifest.csv").write_text(
        "path,label,split,original_rate_hz,channel\na.wav,real,train,44100,studio\n"
    )
    revoice(tmp_path, buzz, VOICE, tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert (row["original_rate_hz"], row["channel"], row["bandwidth_hz"]) == ("44100", "studio", "")
    assert (row["kind"], row["era"], row["year"], row["note"]) == (
        "vocoder",
        "local",
        "2020",
        "copy of a.wav",
    )


def test_a_stopped_run_goes_on(tones, tmp_path):
    """Copies that have a row are not made again, and the rest joins them."""
    calls = []

    def failing(samples, rate):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(1)
        return buzz(samples, rate)

    with pytest.raises(KeyboardInterrupt):
        revoice(tones, failing, VOICE, tmp_path)
    assert len(rows(tmp_path)) == 5
    assert revoice(tones, buzz, VOICE, tmp_path)[0] == 7
    assert revoice(tones, buzz, VOICE, tmp_path)[0] == 0
    assert len({row["note"] for row in rows(tmp_path)}) == 12


def test_vocoders_share_the_humans(tones, tmp_path):
    """Parts are disjoint, cover all, and take of every source alike."""
    for number in (1, 2, 3):
        revoice(tones, buzz, Voice(f"buzz {number}"), tmp_path, part=(number, 3))
    copies = rows(tmp_path)
    assert len({row["note"] for row in copies}) == len(copies) == 12
    source = {clip.name: clip.source for clip in read_manifest(tones)}
    for number in (1, 2, 3):
        of = [source[row["note"][8:]] for row in copies if row["system"] == f"buzz {number}"]
        assert of.count("page-0") == of.count("page-1") == 2


def test_level_band_and_silence_are_the_original_s():
    """A copy is as loud, has nothing in an empty band or in digital silence, and does not clip."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.rfft(rng.normal(0, 0.2, 2 * RATE))
    spectrum[RATE // 2 :] = 0
    original = np.fft.irfft(spectrum).astype(np.float32)
    original[RATE // 2 : RATE] = 0
    made = matched(rng.normal(0, 0.01, 2 * RATE).astype(np.float32), original)
    assert made.dtype == np.float32
    assert abs(20 * np.log10(rms(made) / rms(original))) < 0.01
    power = np.abs(np.fft.rfft(made[RATE:] * np.hanning(RATE))) ** 2
    assert power[5_000:].mean() < 1e-3 * power[:3_500].mean()
    assert np.max(np.abs(made[RATE // 2 + 400 : RATE - 400])) < 2e-4
    loud = matched(made**3, np.sign(original))
    assert np.max(np.abs(loud)) <= 0.981


def test_likeness_tells_a_copy_from_another_clip():
    """Near 1 for the same words a little off, far lower for other sound, 0 for silence."""
    voice = sound("real", 1)
    assert likeness(voice, voice) == pytest.approx(1.0)
    assert likeness(np.tanh(3 * voice) / 3, voice) > 0.9
    assert likeness(sound("nonspeech", 2), voice) < 0.6
    assert likeness(np.zeros_like(voice), voice) == 0.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, _: x[:-1_000], "as many"),
        (lambda x, _: np.stack([x, x]), "as many"),
        (lambda x, _: x * np.nan, "not finite"),
        (lambda x, _: x * 0, "silence"),
    ],
)
def test_an_answer_that_is_no_copy_is_refused(tones, tmp_path, answer, said):
    """With the clip's name; nothing of it enters the manifest."""
    with pytest.raises(FacError, match=f"train-real-.*{said}"):
        revoice(tones, answer, VOICE, tmp_path)
    assert rows(tmp_path) == []


def test_a_folder_with_other_columns_is_refused(tones, tmp_path):
    """Nothing is appended to somebody else's table, and data without humans are an error."""
    (tmp_path / "manifest.csv").write_text("path,label,split\n")
    with pytest.raises(FacError, match="other columns"):
        revoice(tones, buzz, VOICE, tmp_path)
    with pytest.raises(FacError, match="no clips with label real"):
        revoice(tones, buzz, VOICE, tmp_path / "out", part=(13, 13))


@pytest.mark.parametrize("name", ["json", "json:", ":dumps", "no_such_module:f", "json:no_such_function"])
def test_an_unknown_vocoder_is_an_error(name):
    """It says what was looked for."""
    with pytest.raises(ConfigError, match="--vocoder"):
        load(name)


def test_the_command_finds_a_vocoder_in_the_working_folder(tones, tmp_path, monkeypatch):
    """It prints how many copies there are and warns of those unlike their originals."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_vocoder.py").write_text("def same(samples, rate):\n    return samples[::-1]\n")
    arguments = ["corpus", "revoice", str(tones), "--vocoder", "my_vocoder:same", "--system", "same"]
    done = CliRunner().invoke(app, [*arguments, "--out", "copies", "--part", "1/4"])
    assert done.exit_code == 0, done.output
    assert "3 new copies in copies/manifest.csv" in done.output
    assert "compare the vocoder's analysis" in done.output
    refused = CliRunner().invoke(app, [*arguments, "--out", "copies", "--part", "5/4"])
    assert refused.exit_code == 2

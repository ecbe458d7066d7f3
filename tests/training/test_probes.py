"""Shortcut probes find a shortcut that is there, and none where there is none."""

import csv

import numpy as np
import pytest
import soundfile

from training.manifest import Split
from training.probes import bandwidth, level, probe, silence

HEAD = ("path", "label", "split", "generator", "source", "duration_s", "original_codec", "channel")


@pytest.fixture(scope="module")
def shortcut(tmp_path_factory):
    """Fakes are louder and came as MP3; in all else both classes are the same noise on the same pages."""
    folder = tmp_path_factory.mktemp("shortcut")
    rng = np.random.default_rng(0)
    rows = []
    for split in ("train", "dev"):
        for number in range(80):
            label = "fake" if number % 2 else "real"
            name = f"{split}{number}.wav"
            loud = 0.2 if label == "fake" else 0.05
            soundfile.write(folder / name, loud * rng.uniform(-1, 1, 16_000), 16_000)
            codec = "mp3" if label == "fake" else "wav"
            rows.append([name, label, split, "g" * (number % 2), f"page{number % 5}", "1.0", codec, ""])
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return folder


def test_a_shortcut_is_found(shortcut):
    """Level and file format give the class away, silence and bandwidth do not; pairing does not help."""
    told = []
    rows = {row["name"]: row for row in probe(shortcut, Split.DEV, tell=told.append)}
    assert set(rows) == {"file format", "file format and channel", "silence", "level", "bandwidth"}
    assert told[-1] == 1.0
    for name in ("file format", "level"):
        assert rows[name]["plain"]["value"] > 0.95
        assert rows[name]["paired"]["value"] > 0.95
    for name in ("silence", "bandwidth"):
        assert 0.2 < rows[name]["plain"]["value"] < 0.8


def test_silence_by_hand():
    """A tenth of a second before, two after, a pause of 0.2 s between two tones of half a second each."""
    tone = np.sin(np.arange(8_000) / 3).astype(np.float32)
    gap = np.zeros(3_200, np.float32)
    found = silence(np.concatenate([gap[:1_600], tone, gap, tone, np.zeros(3_200, np.float32)]))
    lead_s, trail_s, share, rate, quiet, digital = found
    assert (lead_s, trail_s) == pytest.approx((0.1, 0.2))
    assert share == pytest.approx(0.2 / 1.2)
    assert rate == pytest.approx(1 / 1.5)
    assert quiet == -100.0
    assert digital == pytest.approx(8_000 / 24_000, abs=0.001)
    assert np.isnan(silence(np.zeros(16_000, np.float32))).all()


def test_level_and_bandwidth_by_hand():
    """A sine at half of full scale is -9 dB RMS and -6 dB at its peak; all of its power lies around 3 kHz."""
    sine = (0.5 * np.sin(2 * np.pi * 3_000 * np.arange(16_000) / 16_000)).astype(np.float32)
    assert level(sine)[:3] == pytest.approx([-9.03, -6.02, 3.01], abs=0.05)
    assert bandwidth(sine)[:3] == pytest.approx([3_000] * 3, abs=100)


def test_a_folder_without_a_table_has_no_file_format(tmp_path):
    """Where no manifest tells of the files, the sound alone is probed; without training clips nothing is."""
    for split in ("training", "testing"):
        for label in ("real", "fake"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                noise = np.random.default_rng(number).uniform(-0.1, 0.1, 8_000)
                soundfile.write(folder / f"{number}.wav", noise, 16_000)
    assert [row["name"] for row in probe(tmp_path, Split.TEST)] == ["silence", "level", "bandwidth"]
    for file in (tmp_path / "training" / "fake").iterdir():
        file.unlink()
    assert probe(tmp_path, Split.TEST) == []

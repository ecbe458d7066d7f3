"""A corpus of tones and noise in a temporary folder: seconds to train on."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.tones import RATE, sound
from tests.training.tiny import recipe_file
from training.train import train


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> Path:
    """A folder with manifest.csv: 12 clips of each class in train, 8 in dev and test, and some non-speech."""
    folder = tmp_path_factory.mktemp("tones")
    rows = []
    for split, count in (("train", 12), ("dev", 8), ("test", 8)):
        for label in ("real", "fake", "nonspeech"):
            for number in range(count if label != "nonspeech" else 2):
                name = f"{split}-{label}-{number}.wav"
                seed = len(rows) * 7 + 1
                soundfile.write(folder / name, sound(label, seed), RATE)
                source, generator = f"page-{number % 2}", "buzzer" if label == "fake" else ""
                rows.append([name, label, split, f"s{number}", generator, source, "CC0-1.0", "tts", "modern"])
    head = ["path", "label", "split", "speaker", "generator", "source", "licence", "kind", "era"]
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch) -> None:
    """Decoded speech goes to the test's temporary folder."""
    monkeypatch.setenv("FAC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def trained(tones, tmp_path_factory):
    """A run of three small epochs."""
    out = tmp_path_factory.mktemp("run")
    bundle = train(recipe_file(out), tones, out)
    assert bundle == out / "bundle"
    return out


@pytest.fixture(scope="session")
def tutored(trained, tones, tmp_path_factory) -> dict[str, object]:
    """A teacher, and hints for most of the clips: what a recipe with ``taught`` and ``hints`` needs."""
    with (tones / "manifest.csv").open(newline="") as lines:
        names = [row["path"] for row in csv.DictReader(lines) if row["split"] == "train"][2:]
    rows = np.random.default_rng(5).normal(size=(len(names), 9)).astype(np.float16)
    file = tmp_path_factory.mktemp("hints") / "hints.npz"
    with file.open("wb") as out:
        np.savez(out, names=np.array(names), rows=rows, by=np.array("mine:it"))
    return {"teachers": [trained], "hints": file}

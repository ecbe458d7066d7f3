"""One regression file an augmentation: what one seed draws, and what that does to a voice made by formula.

After a change that is meant, write them anew and read the difference::

    python -m tests.training.test_augment_golden

What only our own arithmetic makes is held sample by sample (every 160th), to a step of 16 bits, because FFT
libraries round differently and a rounding may tip a step over. What codecs, resamplers and the room simulator
make is held by its levels in 16 bands of 4 stretches, to 0.5 dB above a floor of -70 dBFS: their versions
differ in the samples, but not in what is heard.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from training.augment import IMAGE, WAVE, augmentations
from training.pcm import WINDOW, PcmCache

FILES = Path(__file__).parents[1] / "data/augment"
OWN = {"noise", "music", "gaussian_noise", "gain", "clipping", "agc", "rawboost", "band_limit", "packet_loss"}
"""Those without a library for sound."""
STEP = 2**-15
SEED = 2
"""With it packets are lost and concealed, and RawBoost does all that it can."""


def hiss(n: int) -> np.ndarray:
    """Noise between ±1 without a random generator: fractional parts of a large multiple of a sine."""
    return (np.modf(43_758.5453 * np.sin(12.9898 * np.arange(n)))[0]).astype(np.float32)


def voice() -> np.ndarray:
    """Syllables of a gliding tone of 30 harmonics, and breath, float32 ``[32000]``."""
    time = np.arange(WINDOW) / 16_000
    phase = 2 * np.pi * (120 * time - 20 / (2 * np.pi * 1.5) * np.cos(2 * np.pi * 1.5 * time))
    tone = sum(np.sin(k * phase) / (1 + abs(k - 5)) for k in range(1, 31))
    syllables = 0.05 + np.sin(2 * np.pi * 2.1 * time) ** 2
    return (0.1 * syllables * (tone + 0.2 * hiss(WINDOW))).astype(np.float32)


def picture() -> np.ndarray:
    """An image with a gradient along both axes, float32 ``[1, 128, 200]``."""
    return np.add.outer(np.linspace(-1, 1, 128), np.linspace(0, 2, 200)).astype(np.float32)[None]


def known() -> dict:
    """All augmentations; noise is hiss, music a chord."""
    time = np.arange(WINDOW) / 16_000
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (262, 330, 392)) / 4
    caches = [
        PcmCache((sound * 20_000).astype(np.int16), np.array([0]), np.array([len(sound)]))
        for sound in (hiss(48_000), chord)
    ]
    return augmentations(*caches)


def result(name: str) -> dict:
    """Parameters of the seed and the fingerprint of what they do, as in the file."""
    change = known()[name]
    parameters = change.draw(np.random.default_rng(SEED))
    changed = change.apply(picture() if name in IMAGE else voice(), parameters)
    if name in IMAGE:
        print_of = {"samples": changed[0, ::8, ::10].ravel()}
    elif name in OWN:
        print_of = {"samples": changed[::160]}
    else:
        spectra = np.abs(np.fft.rfft(changed.reshape(4, -1) * np.hanning(WINDOW // 4)))[:, :4_000]
        power = np.square(spectra).reshape(4, 16, -1).sum(axis=-1) / (WINDOW // 4) ** 2
        print_of = {"bands_db": 10 * np.log10(power.ravel() + 1e-7)}
    fingerprint = {key: [round(float(value), 7) for value in values] for key, values in print_of.items()}
    return {"parameters": json.loads(json.dumps(asdict(parameters))), **fingerprint}


def leaves(tree: object) -> Iterator[object]:
    """Values of a JSON tree in order, keys among them."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from leaves(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value)
    else:
        yield tree


@pytest.mark.parametrize("name", [*WAVE, *IMAGE])
def test_nothing_changed_unawares(name):
    """The same seed draws the same parameters, and they do what they did."""
    file = json.loads((FILES / f"{name}.json").read_text())
    now = result(name)
    assert now.keys() == file.keys()
    drawn, stored = list(leaves(now["parameters"])), list(leaves(file["parameters"]))
    for value, before in zip(drawn, stored, strict=True):
        assert value == (pytest.approx(before, rel=1e-9) if isinstance(before, float) else before)
    if "samples" in file:
        np.testing.assert_allclose(now["samples"], file["samples"], atol=1.1 * STEP)
    else:
        np.testing.assert_allclose(now["bands_db"], file["bands_db"], atol=0.5)


def test_there_is_a_file_each():
    """None is missing, and none is left of an augmentation that went."""
    assert {path.stem for path in FILES.glob("*.json")} == {*WAVE, *IMAGE}


if __name__ == "__main__":
    FILES.mkdir(parents=True, exist_ok=True)
    for each in (*WAVE, *IMAGE):
        (FILES / f"{each}.json").write_text(json.dumps(result(each)) + "\n")

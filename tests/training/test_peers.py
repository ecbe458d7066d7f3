"""Others' detectors: what may be named, what they hear, and what is made of their scores."""

from dataclasses import replace

import numpy as np
import pytest

from fac_stream.errors import ConfigError, FacError
from tests.training.scores import crowd
from training.peers import Peer, compare, pieces

MODULE = """
import numpy as np

def loudness(waves):
    return np.abs(waves).mean(axis=1)

class Wide:
    name, threshold, window_s = "wide", 0.25, 4.0

    def __call__(self, waves):
        return loudness(waves)

def shapeless(waves):
    return 0.5

def wild(waves):
    return np.full(len(waves), np.nan)

number = 3
class Endless(Wide):
    window_s = 1e9
"""


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch):
    (tmp_path / "peer_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_and_a_class_are_peers():
    """A function has the defaults; a class is made into an object, whose attributes count."""
    plain, wide = Peer.load("peer_of_test:loudness"), Peer.load("peer_of_test:Wide")
    assert (plain.name, plain.threshold, plain.window_s) == ("loudness", 0.0, 2.0)
    assert (wide.name, wide.threshold, wide.window_s) == ("wide", 0.25, 4.0)
    waves = np.full((3, 8), 0.5, np.float32)
    assert plain(waves) == pytest.approx([0.5] * 3)
    assert wide(waves) == pytest.approx([0.25] * 3)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("peer_of_test", "module:function"),
        (":x", "module:function"),
        ("no_such_module:x", "PYTHONPATH"),
        ("peer_of_test:nothing", "PYTHONPATH"),
        ("peer_of_test:number", "no function number"),
        ("peer_of_test:Endless", "window_s"),
    ],
)
def test_what_is_no_peer_is_told(place, said):
    """Every wrong name and object has an answer that says what to do."""
    with pytest.raises(ConfigError, match=said):
        Peer.load(place)


@pytest.mark.parametrize("name", ["shapeless", "wild"])
def test_a_score_a_row_is_demanded(name):
    """One number for all, or no number, is not averaged into a figure."""
    with pytest.raises(FacError, match="one finite score a row"):
        Peer.load(f"peer_of_test:{name}")(np.zeros((2, 32_000), np.float32))


def test_pieces_cover_a_clip():
    """A longer window is repeated from a shorter clip; a longer clip is covered from end to end."""
    pcm = np.arange(10, dtype=np.int16)
    assert (pieces(pcm, 4, 12) * 32768).tolist() == [[*range(10), 0, 1]]
    assert (pieces(pcm, 4, 4)[:, 0] * 32768).tolist() == [0, 3, 6]
    assert (pieces(pcm, 2, 4)[:, 0] * 32768).tolist() == [0, 6]


def test_peers_of_two_seconds_hear_what_the_bundle_hears():
    """The very same windows, and others their own length."""
    from training.dataset import windows

    pcm = (1000 * np.sin(np.arange(80_000) / 9)).astype(np.int16)
    assert np.array_equal(Peer.load("peer_of_test:loudness").cut(pcm, 4), windows(pcm, 4))
    assert Peer.load("peer_of_test:Wide").cut(pcm, 4).shape == (2, 64_000)


def test_a_row_of_the_comparison():
    """The figures of the scores, the worst source and the non-speech called synthetic."""
    heard = crowd()
    row = compare(heard.speech, heard.nonspeech, draws=20)
    assert row["eer"]["value"] < 0.2 < row["auc"]["value"]
    assert row["sources"]["worst"]["name"].startswith("owner/corpus")
    assert row["nonspeech"]["value"] == np.mean(heard.nonspeech.llrs > 0).round(4)
    assert compare(heard.speech, None, draws=5)["nonspeech"] is None
    shifted = replace(heard.speech, llrs=heard.speech.llrs + 9)
    assert compare(shifted, None, draws=5)["false_alarms"]["value"] > 0.9

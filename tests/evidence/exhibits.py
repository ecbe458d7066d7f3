"""Evidence to test with: windows of tones, events about them, whole files."""

from datetime import UTC, datetime, timedelta

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding, Frame
from fac_stream.audio.windows import WindowCutter
from fac_stream.config_storage import Evidence
from fac_stream.events import AlertRaised, Decision, DecisionChanged, WindowScored
from fac_stream.evidence.record import Backend
from fac_stream.evidence.ring import Ring
from fac_stream.evidence.sealed import Header, key_id, seal

KEY = bytes(range(32))
KEY_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SETTINGS = Evidence(purpose="a test", key=KEY_TEXT)
BACKEND = Backend(name="onnx", device="cpu", threads=1, runtime="onnxruntime 0", processor="none")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "fake@00000000"


def cut(samples, *, hop_s=0.5, gaps=(), rate=SAMPLE_RATE, leg="caller"):
    """The windows of float32 ``[n]``; ``gaps`` are (first, behind the last) samples that never came."""
    cutter = WindowCutter(AudioFormat(rate, Encoding.PCM_F32LE, (leg,)), hop_s)
    windows, at = [], 0
    for first, end in (*gaps, (len(samples), len(samples))):
        if first > at:
            windows += cutter.push(Frame(at, samples[at:first].astype("<f4").tobytes(), 0.0))
        at = end
    return windows + cutter.flush()


def noise(seconds, seed=0, rate=SAMPLE_RATE):
    """Float32 ``[n]``, no two stretches alike."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def scored(window, score=0.75, decision=Decision.SYNTHETIC, call_id="call-1"):
    """What is said of a window."""
    return WindowScored(
        call_id=call_id,
        leg=window.leg,
        index=window.index,
        start_s=window.start_s,
        end_s=window.end_s,
        score=score,
        smoothed=score,
        speech_s=2.0,
        decision=decision,
        model=MODEL,
    )


def changed(at_s, decision=Decision.SYNTHETIC, call_id="call-1", leg="caller"):
    """The decision on a leg changed."""
    return DecisionChanged(
        call_id=call_id,
        leg=leg,
        previous=Decision.UNKNOWN,
        decision=decision,
        at_s=at_s,
        smoothed=0.9,
        speech_s=2.0,
        model=MODEL,
    )


def alert(at_s, alert_id="alert_1", call_id="call-1", leg="caller"):
    """An alert about a leg."""
    return AlertRaised(
        call_id=call_id,
        leg=leg,
        alert_id=alert_id,
        rule="r",
        severity="critical",
        summary="s",
        at_s=at_s,
        smoothed=0.9,
        speech_s=2.0,
        model=MODEL,
        time=NOW,
    )


def heard(windows, seconds=60.0, run=1):
    """What a ring of ``seconds`` holds after these windows."""
    ring = Ring(seconds)
    for window in windows:
        ring.add(window, run, scored(window))
    return ring.heard()


def header(alert_id="alert_1", call_id="call-1", written_at=NOW, keep_days=14.0):
    """A header as the clerk writes it."""
    return Header(
        alert_id=alert_id,
        call_id=call_id,
        bundle=MODEL,
        purpose="a test",
        raised_at=written_at,
        written_at=written_at,
        keep_until=written_at + timedelta(days=keep_days),
        key=key_id(KEY),
    )


def sealed(size=1000, **fields):
    """A whole file with so many bytes of content."""
    return seal(header(**fields), bytes(size), KEY)

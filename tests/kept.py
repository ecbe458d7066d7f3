"""An alert of a fake call, and the evidence of it, as the daemon would have written them."""

import base64
from datetime import UTC, datetime, timedelta

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.events import AlertRaised, DrivingWindow, Explanation, ScorePoint
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.record import Backend, Excerpt, Piece, Record, ScoredWindow
from fac_stream.evidence.sealed import Header, key_id, seal
from tests.fakes import scored_at

ALERT = "alert_00000000000000000000000000000001"
KEY = base64.b64encode(bytes(range(32))).decode()
SETTINGS = {"purpose": "tests", "key": KEY}
MODEL = "fake@00000000"


def alert(model=MODEL, windows=((4.0, 0.9), (2.0, 0.8), (1.5, 0.8))):
    """An alert that these windows, by start and score, drove."""
    driving = [
        DrivingWindow(start_s=start, end_s=start + 2.0, score=score, weight=0.3, quality=["noisy"])
        for start, score in windows
    ]
    timeline = [ScorePoint(end_s=2.0, score=None), *(ScorePoint(end_s=2.5 + i, score=0.6) for i in range(4))]
    return AlertRaised(
        call_id="call-1",
        leg="caller",
        alert_id=ALERT,
        rule="synthetic-voice",
        severity="critical",
        summary="Synthetic voice suspected on caller of call call-1",
        at_s=6.0,
        smoothed=0.9,
        speech_s=5.0,
        model=model,
        explanation=Explanation(
            windows=driving, timeline=timeline, quality=["noisy"], model=model, bundle_version="0"
        ),
    )


def keep(raised, key, samples=None):
    """Write the evidence of an alert: six seconds from second 1 on, a window every half second."""
    audio = scored_at(0.75, 6.0) if samples is None else samples
    now = datetime.now(UTC)
    header = Header(
        alert_id=raised.alert_id,
        call_id=raised.call_id,
        bundle=raised.model,
        purpose="tests",
        raised_at=now,
        written_at=now,
        keep_until=now + timedelta(days=1),
        key=key_id(key),
    )
    record = Record(
        **raised.model_dump(include={"alert_id", "call_id", "leg", "rule", "severity", "summary", "at_s"}),
        raised_at=now,
        bundle=raised.model,
        bundle_version="0",
        backend=Backend(name="onnx", device="cpu", threads=1, runtime="none", processor="none"),
        pieces=[Piece(start_sample=SAMPLE_RATE, samples=len(audio))],
        windows=[_window(index) for index in range(2 * len(audio) // SAMPLE_RATE - 3)],
    )
    content = Excerpt(record, [np.asarray(audio, np.float32)]).encode()
    Folder().write(raised.alert_id, seal(header, content, key))


def _window(index):
    return ScoredWindow(
        index=index,
        piece=0,
        start_sample=SAMPLE_RATE + index * SAMPLE_RATE // 2,
        span=2 * SAMPLE_RATE,
        score=0.75,
        skipped=None,
        smoothed=0.75,
        decision="synthetic",
        quality=[],
        telephone=False,
        speech_s=2.0,
        level_dbfs=-20.0,
        concealed=0.0,
        run=1,
    )

"""Events and answers of a daemon, with everything filled in that a test does not care about."""

from datetime import UTC, datetime, timedelta

from fac_stream.events import (
    AlertRaised,
    AlertResolved,
    CallEnded,
    CallStarted,
    CallSummary,
    DecisionChanged,
    LegSummary,
    WindowScored,
)

MODEL = "default@0a1b2c3d"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def started(call_id="call-1", legs=("caller",), source="websocket", **fields):
    """A call begins."""
    return CallStarted(
        call_id=call_id,
        source=source,
        legs=list(legs),
        sample_rate=8000,
        encoding="mulaw",
        **fields,
    )


def scored(score, end_s, call_id="call-1", leg="caller", decision="unknown", **fields):
    """A window was looked at; without a score because there was no speech, unless told otherwise."""
    defaults = {
        "index": round(end_s * 2),
        "start_s": max(0, end_s - 2),
        "smoothed": score,
        "skipped": "no_speech" if score is None else None,
        "speech_s": 0.0 if score is None else 1.6,
        "level_dbfs": -23.0,
        "latency_ms": 84.0,
    }
    return WindowScored(
        call_id=call_id,
        leg=leg,
        end_s=end_s,
        score=score,
        decision=decision,
        model=MODEL,
        **{**defaults, **fields},
    )


def changed(decision, at_s, smoothed=None):
    """The decision on a leg changes."""
    return DecisionChanged(
        call_id="call-1",
        leg="caller",
        previous="unknown",
        decision=decision,
        at_s=at_s,
        smoothed=smoothed,
        speech_s=at_s,
        model=MODEL,
    )


def raised(
    alert_id="a-1", call_id="call-1", leg="caller", summary="caller sounds synthetic", severity="critical"
):
    """A rule fires."""
    return AlertRaised(
        call_id=call_id,
        leg=leg,
        alert_id=alert_id,
        rule="synthetic_voice",
        severity=severity,
        summary=summary,
        at_s=12.5,
        smoothed=0.94,
        speech_s=9.0,
        model=MODEL,
    )


def resolved(alert_id="a-1", call_id="call-1", reason="cleared"):
    """An alert is over."""
    return AlertResolved(
        call_id=call_id,
        leg="caller",
        alert_id=alert_id,
        rule="synthetic_voice",
        reason=reason,
        at_s=20.0,
    )


def leg_summary(leg="caller", decision="human", score=0.12, worst=None):
    """Where a leg stands."""
    return LegSummary(
        leg=leg,
        decision=decision,
        worst_decision=worst or decision,
        smoothed=score,
        last_score=score,
        peak_score=score,
        windows=40,
        scored=30,
        speech_s=15.0,
        level_dbfs=-22.0,
    )


def summary(call_id="call-1", legs=None, alerts=(), ended=False, began_s=0, **fields):
    """A call as the daemon lists it."""
    defaults = {
        "source": "websocket",
        "started_at": START + timedelta(seconds=began_s),
        "ended_at": START + timedelta(seconds=began_s + 60) if ended else None,
        "end_reason": "completed" if ended else None,
        "duration_s": 20.0,
        "sample_rate": 16000,
        "encoding": "pcm_s16le",
        "metadata": {},
    }
    return CallSummary(
        call_id=call_id,
        legs=legs or [leg_summary()],
        alerts=list(alerts),
        **{**defaults, **fields},
    )


def ended(call_id="call-1", legs=None, reason="completed", detail=None):
    """A call is over."""
    return CallEnded(
        call_id=call_id, reason=reason, detail=detail, duration_s=42.0, legs=legs or [leg_summary()]
    )


def point(end_s, score, decision="human"):
    """One entry of a timeline."""
    return {
        "end_s": end_s,
        "score": score,
        "smoothed": score,
        "speech_s": 0.0 if score is None else 1.5,
        "decision": decision,
    }


def prediction(score=0.87, windows=None, **fields):
    """The daemon's answer to an upload."""
    word = "unknown" if score is None else "fake" if score > 0.5 else "real"
    return {
        "fakeness_score": score,
        "prediction": word,
        "confidence": None if score is None else max(score, 1 - score),
        "decision": {"fake": "synthetic", "real": "human", "unknown": "unknown"}[word],
        "duration_s": 12.0,
        "speech_s": 0.0 if score is None else 9.5,
        "legs": ["mixed"],
        "windows": windows
        or [
            {
                "leg": "mixed",
                "start_s": i * 0.5,
                "end_s": i * 0.5 + 2,
                "score": score,
                "skipped": "no_speech" if score is None else None,
                "speech_s": 1.5,
            }
            for i in range(20)
        ],
        **fields,
    }

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from fac_stream import asyncapi
from fac_stream.events import EVENT_TYPES, EVENTS, WindowScored, decode, encode

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "data" / "events"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda p: p.stem)
def test_golden_events_survive_a_round_trip(path):
    """Stored messages of wire version 1 parse, and are written again byte for byte."""
    text = path.read_text().strip()

    assert text == encode(decode(text))


def test_there_is_a_golden_event_of_every_type():
    """Nothing can be added to the wire without a golden message."""
    types = {json.loads(path.read_text())["type"] for path in GOLDEN.glob("*.json")}

    assert set(EVENT_TYPES) == types
    assert set(EVENT_TYPES) == set(EVENTS.json_schema()["discriminator"]["mapping"])


def test_the_common_fields_stand_in_every_message():
    """type, seq, time, call_id and leg are always there, also where null."""
    for path in GOLDEN.glob("*.json"):
        assert {"type", "seq", "time", "call_id", "leg"} <= json.loads(path.read_text()).keys()


def test_time_is_rfc3339_in_utc():
    """The time is written with the Z of UTC."""
    event = WindowScored(
        time=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
        index=0,
        start_s=0,
        end_s=2,
        score=None,
        speech_s=0,
        decision="unknown",
        model="m",
    )

    assert json.loads(encode(event))["time"] == "2026-01-02T03:04:05.678000Z"


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_score_is_a_probability(score):
    """A score outside 0 to 1, or not a number, cannot be published."""
    with pytest.raises(ValidationError):
        WindowScored(index=0, start_s=0, end_s=2, score=score, speech_s=0, decision="unknown", model="m")


@pytest.mark.parametrize("text", ["", "{}", '{"type":"call.paused"}', '{"type":"call.ended"}', "[1]"])
def test_what_is_no_event_is_refused(text):
    """Unknown types and missing fields raise ValidationError."""
    with pytest.raises(ValidationError):
        decode(text)


def test_documents_are_up_to_date():
    """docs/events.md and docs/asyncapi.yaml say what the models say: python -m fac_stream.asyncapi docs."""
    assert asyncapi.markdown() == (ROOT / "docs" / "events.md").read_text()
    assert asyncapi.document() == yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())


def test_every_field_is_described():
    """No field reaches the documentation without a meaning."""
    for name, schema in asyncapi.document()["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            assert field == "type" or about.get("description"), f"{name}.{field}"

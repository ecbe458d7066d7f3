import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fac_stream.alerts.message import Message
from fac_stream.alerts.template import MAX_FIELD, MAX_MESSAGE, fields, rendered
from fac_stream.config_hooks import FIELDS, Apprise
from fac_stream.events import AlertRaised, AlertResolved
from tests.alerts.test_outbox import message, resolved


def about(call_id="c", summary="s"):
    """The message of an alert about this call."""
    event = AlertRaised(
        call_id=call_id,
        leg="caller",
        alert_id="a",
        rule="r",
        severity="warning",
        summary=summary,
        at_s=1.0,
        smoothed=0.987,
        speech_s=1.0,
        model="m",
    )
    return Message.of(event)


def test_every_field_has_a_text():
    """Of every kind of alert event, a health alert without call and leg too."""
    health = AlertResolved(
        alert_id="a", category="health", severity="warning", rule="disk-full", reason="cleared", at_s=1.0
    )
    for it in (message(), resolved(), Message.of(health)):
        assert set(fields(it)) == set(FIELDS)
        assert fields(it)["summary"]

    assert rendered("$severity: $summary ($state, $smoothed) $$5", about()) == "warning: s (raised, 0.99) $5"
    assert rendered("$summary", resolved()) == "Over (cleared): r on caller of call c"
    assert rendered("$summary", Message.of(health)) == "Over (cleared): disk-full"


@given(text=st.text(max_size=2000), template=st.sampled_from(["$call_id", "a ${call_id}b" * 90]))
def test_a_call_id_is_text_and_nothing_else(text, template):
    """It cannot steer a terminal, break a line, mention everybody, write a tag or name another field."""
    told = rendered(template, about(call_id=text))

    assert len(told) <= MAX_MESSAGE
    assert len(fields(about(call_id=text))["call_id"]) <= 2 * MAX_FIELD
    assert not set(told) & set("<>\n\r\0\x1b")
    assert "@everyone" not in told.lower()
    assert "@channel" not in told.lower()
    assert rendered("$call_id", about(call_id="$model")) == "$model"


@pytest.mark.parametrize("template", ["", "$nothing", "$", "${call_id", "${call_id.x}", "x" * 2001])
def test_a_template_is_checked_with_the_configuration(template):
    """A message that could not be written is a fault at the start, not at the first alert."""
    with pytest.raises(ValidationError):
        Apprise(name="chat", url="json://h", message=template)


def test_the_body_is_a_cloud_event():
    """CloudEvents 1.0: required attributes, no null, attribute names of lower-case letters and digits."""
    for it in (about(), resolved()):
        body = json.loads(it.body)
        assert body["specversion"] == "1.0"
        assert body["id"] == it.message_id
        assert body["source"].startswith("/fac-stream/")
        assert body["type"] == it.type
        assert body["subject"] == "c"
        assert all(name.isalnum() and name.islower() and value for name, value in body.items())
    health = AlertRaised.model_validate(json.loads(about().body)["data"] | {"call_id": None, "leg": None})
    assert "subject" not in json.loads(Message.of(health).body)
    assert len(about().body) < 20_000

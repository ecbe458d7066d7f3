import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.alerts.rules import Rules
from fac_stream.config_alerts import AlertRule, AllowedVoice
from fac_stream.events import (
    AlertRaised,
    CallDeleted,
    CallEnded,
    CallStarted,
    Decision,
    DecisionChanged,
    WindowScored,
)


def started(call_id="c", source="websocket", **metadata):
    """A call begins."""
    return CallStarted(
        call_id=call_id,
        source=source,
        legs=["caller", "agent"],
        sample_rate=8000,
        encoding="mulaw",
        metadata=metadata,
    )


def changed(decision, call_id="c", leg="caller", speech_s=3.0, at_s=4.0):
    """A decision that a leg came to."""
    return DecisionChanged(
        call_id=call_id,
        leg=leg,
        previous="unknown",
        decision=decision,
        at_s=at_s,
        smoothed=0.95,
        speech_s=speech_s,
        model="m",
    )


def heard(end_s, speech_s=2.0, score=0.9, call_id="c", leg="caller"):
    """A window of two seconds that ends then."""
    return WindowScored(
        call_id=call_id,
        leg=leg,
        index=0,
        start_s=end_s - 2.0,
        end_s=end_s,
        score=score,
        smoothed=score,
        speech_s=speech_s,
        decision="synthetic",
        model="m",
    )


def ended(call_id="c"):
    """The end of a call."""
    return CallEnded(call_id=call_id, reason="completed", duration_s=9.0, legs=[])


class Engine:
    """Rules with ids that count from 0, and a clock that stands still until it is set."""

    def __init__(self, *rules, allow=()):
        ids = itertools.count()
        self.rules = Rules(
            [AlertRule(**rule) for rule in rules or ({},)],
            [AllowedVoice(name="ours", **voice) for voice in allow],
            lambda: f"alert_{next(ids)}",
        )
        self.now = 0.0

    def on(self, *events):
        """The alerts that events raise or resolve."""
        return [alert for event in events for alert in self.rules.on(event, self.now)]

    def ids(self, *events):
        """The same, as (what, which)."""
        return [(alert.type.removeprefix("alert."), alert.alert_id) for alert in self.on(*events)]


SYNTHETIC, HUMAN = Decision.SYNTHETIC, Decision.HUMAN


def test_a_synthetic_leg_raises_once():
    """The default rule names call, leg and score, and is not repeated while it fires."""
    alerts = Engine()

    (raised,) = alerts.on(started(), changed(SYNTHETIC))

    assert (raised.call_id, raised.leg, raised.alert_id) == ("c", "caller", "alert_0")
    assert (raised.rule, raised.severity, raised.category) == ("synthetic-voice", "critical", "fraud")
    assert "caller of call c (score 0.95)" in raised.summary
    assert alerts.on(changed(SYNTHETIC)) == []


def test_human_clears_and_the_next_one_is_new():
    """Turning human resolves the alert; a later synthetic decision is a new alert."""
    alerts = Engine()
    alerts.on(changed(SYNTHETIC))

    (resolved,) = alerts.on(changed(HUMAN))
    (again,) = alerts.on(changed(SYNTHETIC))

    assert (resolved.alert_id, resolved.reason, resolved.severity) == ("alert_0", "cleared", "critical")
    assert again.alert_id == "alert_1"


@pytest.mark.parametrize("decision", [Decision.UNKNOWN, Decision.SUSPICIOUS])
def test_only_human_clears(decision):
    """A leg that can no longer be scored, or is less sure, is not declared harmless."""
    alerts = Engine()
    alerts.on(changed(SYNTHETIC))

    assert alerts.on(changed(decision)) == []


def test_the_end_of_a_call_resolves_its_legs_only():
    """Each firing leg of the ended call is resolved; other calls keep theirs."""
    alerts = Engine()
    for call_id, leg in (("c", "caller"), ("c", "agent"), ("d", "caller")):
        alerts.on(changed(SYNTHETIC, call_id, leg))

    resolved = alerts.on(ended("c"))

    assert [(a.alert_id, a.reason) for a in resolved] == [
        ("alert_0", "call_ended"),
        ("alert_1", "call_ended"),
    ]
    assert [a.alert_id for a in alerts.on(ended("d"))] == ["alert_2"]


def test_a_rule_looks_where_it_is_told():
    """Legs by name or pattern, sources by kind, decisions by state; each rule by itself."""
    alerts = Engine(
        {"name": "a", "legs": ["agent*"]},
        {"name": "b", "sources": ["siprec"]},
        {"name": "c", "states": ["suspicious"], "severity": "info"},
    )

    on_websocket = alerts.on(started("c"), changed(SYNTHETIC, "c", "agent-2"), changed(SYNTHETIC, "c"))
    on_siprec = alerts.on(started("d", "siprec"), changed(SYNTHETIC, "d"))
    suspected = alerts.on(started("e"), changed(Decision.SUSPICIOUS, "e"))

    assert [(it.rule, it.call_id, it.leg) for it in on_websocket] == [("a", "c", "agent-2")]
    assert [(it.rule, it.call_id) for it in on_siprec] == [("b", "d")]
    assert [(it.rule, it.severity) for it in suspected] == [("c", "info")]
    assert suspected[0].summary.startswith("Possibly synthetic voice")


def test_a_rule_waits_for_speech():
    """Only new speech of overlapping windows counts, and what was not scored does not."""
    alerts = Engine({"min_speech_s": 4.0})

    assert alerts.on(started(), changed(SYNTHETIC, speech_s=3.0, at_s=4.0)) == []
    assert alerts.on(heard(4.5, speech_s=2.0)) == []
    assert alerts.on(heard(5.0, score=None)) == []
    (raised,) = alerts.on(heard(5.0, speech_s=2.0))

    assert (raised.speech_s, raised.at_s, raised.smoothed) == (4.0, 5.0, 0.9)
    assert alerts.on(heard(5.5)) == []


def test_what_passed_before_there_was_enough_speech_raises_nothing():
    """The decision has to last until the rule has what it waits for."""
    alerts = Engine({"min_speech_s": 4.0})
    alerts.on(changed(SYNTHETIC), changed(Decision.SUSPICIOUS))

    assert alerts.on(heard(9.0), heard(11.0), heard(13.0)) == []


def test_a_cooldown_puts_off_and_does_not_swallow():
    """Within it nothing comes; a voice that is still synthetic when it is over raises then."""
    alerts = Engine({"cooldown_s": 60.0})
    alerts.on(changed(SYNTHETIC), changed(HUMAN))

    alerts.now = 59.9
    assert alerts.on(changed(SYNTHETIC), heard(5.0)) == []
    alerts.now = 60.0
    assert alerts.ids(heard(5.5)) == [("raised", "alert_1")]


def test_a_cooldown_is_its_groups():
    """Another leg has its own."""
    alerts = Engine({"cooldown_s": 60.0})
    alerts.on(changed(SYNTHETIC), changed(HUMAN))

    assert alerts.ids(changed(SYNTHETIC, leg="agent")) == [("raised", "alert_1")]


def test_one_alert_for_a_call():
    """It is raised by the first leg and over when no leg is left."""
    alerts = Engine({"group": "call"})

    assert alerts.ids(changed(SYNTHETIC), changed(SYNTHETIC, leg="agent")) == [("raised", "alert_0")]
    assert alerts.ids(changed(HUMAN)) == []
    assert alerts.ids(changed(HUMAN, leg="agent")) == [("resolved", "alert_0")]


def test_one_alert_for_a_desk():
    """All calls with the same value share it; one without the key is alone; it outlives its first call."""
    alerts = Engine({"group": "metadata.parameters.desk"})
    desk = {"parameters": {"desk": 7}}
    alerts.on(started("c", **desk), started("d", **desk), started("e"))

    assert alerts.ids(*(changed(SYNTHETIC, call) for call in "cde")) == [
        ("raised", "alert_0"),
        ("raised", "alert_1"),
    ]
    assert alerts.ids(ended("c"), ended("e")) == [("resolved", "alert_1")]
    alerts.now = 20.0
    (resolved,) = alerts.on(ended("d"))
    assert (resolved.alert_id, resolved.call_id, resolved.at_s) == ("alert_0", "c", 24.0)


def test_a_deleted_call_is_not_named_again():
    """What others keep firing is resolved all the same, without saying whose it was."""
    alerts = Engine({"group": "metadata.desk"})
    alerts.on(started("c", desk="7"), started("d", desk="7"))
    alerts.on(changed(SYNTHETIC, "c"), changed(SYNTHETIC, "d"), ended("c"), CallDeleted(call_id="c"))

    (resolved,) = alerts.on(ended("d"))

    assert (resolved.alert_id, resolved.call_id, resolved.leg) == ("alert_0", None, None)
    assert (resolved.reason, resolved.category) == ("call_ended", "fraud")


@pytest.mark.parametrize(
    ("voice", "metadata", "quiet"),
    [
        ({"leg": "agent"}, {}, {"agent"}),
        ({"number": "+49 (30) 1234"}, {"to": "tel:0049301234"}, {"agent"}),
        ({"number": "4930*"}, {"from": "+4930999"}, {"caller"}),
        ({"number": "4930*"}, {"from": "+4931999", "to": "x"}, set()),
        ({"number": "ivr@*"}, {"participants": [{"leg": "agent", "aor": "sip:ivr@pbx;tag=1"}]}, {"agent"}),
        ({"metadata": {"parameters.bot": "yes"}}, {"parameters": {"bot": "yes"}}, {"caller", "agent"}),
        ({"metadata": {"bot": "true"}}, {"bot": True}, {"caller", "agent"}),
        ({"metadata": {"bot": "*"}}, {"bot": {"a": 1}}, set()),
        ({"leg": "agent", "metadata": {"bot": "yes"}}, {"bot": "yes"}, {"agent"}),
        ({"leg": "agent", "metadata": {"bot": "yes"}}, {"bot": "no"}, set()),
    ],
)
def test_an_allowed_voice_raises_nothing(voice, metadata, quiet):
    """All that an entry says has to fit; a number is that of the leg's own party; the voice is counted."""
    alerts = Engine(allow=[voice])
    alerts.on(started(**metadata))

    raised = alerts.on(changed(SYNTHETIC, leg="caller"), changed(SYNTHETIC, leg="agent"))

    assert {alert.leg for alert in raised} == {"caller", "agent"} - quiet
    assert alerts.rules.allowed == len(quiet)


def test_an_allowed_number_silences_no_mixed_leg():
    """There the other party speaks, too."""
    alerts = Engine(allow=[{"number": "4930*"}])

    assert alerts.on(started(to="+4930123"), changed(SYNTHETIC, leg="mixed"))


def test_memory_has_bounds(monkeypatch):
    """Nothing is kept of calls that ended but cooldowns, and of those only so many."""
    monkeypatch.setattr("fac_stream.alerts.rules.MAX_COOLDOWNS", 10)
    alerts = Engine({"cooldown_s": 600.0, "min_speech_s": 1.0}, {"name": "slow", "min_speech_s": 99.0})

    for number in range(50):
        call = f"c{number}"
        alerts.on(started(call), changed(SYNTHETIC, call), ended(call))

    rules = alerts.rules
    assert (rules._calls, rules._suspects, rules._firing, len(rules._cooldowns)) == ({}, {}, {}, 10)


STEPS = st.lists(
    st.one_of(
        st.builds(
            changed,
            st.sampled_from(Decision),
            call_id=st.sampled_from("cd"),
            leg=st.sampled_from(("caller", "agent")),
        ),
        st.builds(
            heard,
            st.floats(2.0, 60.0),
            call_id=st.sampled_from("cd"),
            leg=st.sampled_from(("caller", "agent")),
        ),
        st.builds(ended, st.sampled_from("cd")),
        st.builds(started, st.sampled_from("cd"), desk=st.sampled_from((1, 2))),
    )
)
RULES = st.fixed_dictionaries(
    {
        "states": st.sampled_from((["synthetic"], ["suspicious"], ["synthetic", "suspicious"])),
        "group": st.sampled_from(("leg", "call", "metadata.desk")),
        "min_speech_s": st.sampled_from((0.0, 5.0)),
        "cooldown_s": st.sampled_from((0.0, 3.0)),
    }
)


@given(STEPS, RULES, RULES)
def test_raised_and_resolved_pair_up(steps, one, other):
    """Whatever happens, at the end of all calls every raised alert was resolved exactly once, after it."""
    alerts = Engine(one | {"name": "one"}, other | {"name": "other"})
    events = []

    for step in [*steps, ended("c"), ended("d")]:
        alerts.now += 1.0
        events += alerts.on(step)

    raised = [a.alert_id for a in events if isinstance(a, AlertRaised)]
    resolved = [a.alert_id for a in events if not isinstance(a, AlertRaised)]
    assert sorted(raised) == sorted(resolved)
    assert len(raised) == len(set(raised))
    order = [a.alert_id for a in events]
    assert all(order.index(a) < len(order) - 1 - order[::-1].index(a) for a in raised)

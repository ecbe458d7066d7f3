import itertools

from hypothesis import given
from hypothesis import strategies as st

from fac_stream.alerts.rules import SyntheticVoice
from fac_stream.events import AlertRaised, CallEnded, Decision, DecisionChanged


def changed(decision, call_id="c", leg="caller"):
    """A decision that a leg came to."""
    return DecisionChanged(
        call_id=call_id,
        leg=leg,
        previous="unknown",
        decision=decision,
        at_s=4.0,
        smoothed=0.95,
        speech_s=3.0,
        model="m",
    )


def ended(call_id="c"):
    """The end of a call."""
    return CallEnded(call_id=call_id, reason="completed", duration_s=9.0, legs=[])


def rule():
    """The rule with ids that count from 0."""
    ids = itertools.count()
    return SyntheticVoice(lambda: f"alert_{next(ids)}")


def test_a_synthetic_leg_raises_once():
    """The alert names call, leg and score, and is not repeated while it fires."""
    alerts = rule()

    (raised,) = alerts.on(changed(Decision.SYNTHETIC))

    assert (raised.call_id, raised.leg, raised.alert_id) == ("c", "caller", "alert_0")
    assert "caller of call c (score 0.95)" in raised.summary
    assert alerts.on(changed(Decision.SYNTHETIC)) == []


def test_human_clears_and_the_next_one_is_new():
    """Turning human resolves the alert; a later synthetic decision is a new alert."""
    alerts = rule()
    alerts.on(changed(Decision.SYNTHETIC))

    (resolved,) = alerts.on(changed(Decision.HUMAN))
    (again,) = alerts.on(changed(Decision.SYNTHETIC))

    assert (resolved.alert_id, resolved.reason) == ("alert_0", "cleared")
    assert again.alert_id == "alert_1"


def test_unknown_does_not_clear():
    """A leg that can no longer be scored is not declared harmless."""
    alerts = rule()
    alerts.on(changed(Decision.SYNTHETIC))

    assert alerts.on(changed(Decision.UNKNOWN)) == []


def test_the_end_of_a_call_resolves_its_legs_only():
    """Each firing leg of the ended call is resolved; other calls keep theirs."""
    alerts = rule()
    for call_id, leg in (("c", "caller"), ("c", "agent"), ("d", "caller")):
        alerts.on(changed(Decision.SYNTHETIC, call_id, leg))

    resolved = alerts.on(ended("c"))

    assert [(a.alert_id, a.reason) for a in resolved] == [
        ("alert_0", "call_ended"),
        ("alert_1", "call_ended"),
    ]
    assert [a.alert_id for a in alerts.on(ended("d"))] == ["alert_2"]


@given(
    st.lists(
        st.tuples(st.sampled_from("cd"), st.sampled_from(("caller", "agent")), st.sampled_from(Decision))
    )
)
def test_raised_and_resolved_pair_up(steps):
    """Whatever happens, at the end of all calls every raised alert was resolved exactly once."""
    alerts = rule()

    events = [a for call, leg, d in steps for a in alerts.on(changed(d, call, leg))]
    events += [a for call in "cd" for a in alerts.on(ended(call))]

    raised = [a.alert_id for a in events if isinstance(a, AlertRaised)]
    resolved = [a.alert_id for a in events if not isinstance(a, AlertRaised)]
    assert sorted(raised) == sorted(resolved)
    assert len(raised) == len(set(raised))

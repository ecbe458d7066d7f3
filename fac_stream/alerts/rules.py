"""Which decisions are alerts. Pure: events and the time in, alerts out.

Theory of operation
-------------------
A rule looks at a leg whose decision is one of its ``states``::

    decision in states ──allowed voice──► nothing, counted
            │
            ▼
    waits, until the leg had min_speech_s and the cooldown of its group is over
            │                            └── the decision leaves states: forgotten
            ▼
    its group is firing already ──yes──► the leg joins, nothing is told
            │ no
            ▼
    raised ───► resolved, once every leg that joined turned human or its call ended

A group is a leg, a call, or all calls whose metadata has the same value under a key. ``unknown`` resolves
nothing: a leg that can no longer be scored is not harmless.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from fac_stream.config_alerts import AlertRule, AllowedVoice
from fac_stream.events import (
    AlertRaised,
    AlertResolved,
    CallDeleted,
    CallEnded,
    CallStarted,
    Decision,
    DecisionChanged,
    Event,
    WindowScored,
)
from fac_stream.history.numbers import normal, numbers_of

MAX_COOLDOWNS = 10_000
"""Groups whose cooldown is remembered; then the oldest is forgotten."""
SPEAKERS = {"caller": "caller", "callee": "agent"}
"""Whose number is whose leg. On a mixed leg, an allowed number would let the other voice pass, too."""

AlertEvent = AlertRaised | AlertResolved
Place = tuple[str, str]
"""Call and leg."""
Group = tuple[str, ...]
"""Rule, and what it groups by."""


@dataclass(slots=True)
class _Suspect:
    """A leg whose decision is one of a rule's states, before it raised an alert or joined one."""

    decided: DecisionChanged
    rules: list[AlertRule]
    at_s: float
    speech_s: float
    smoothed: float | None


@dataclass(slots=True)
class _Firing:
    alert: AlertRaised
    raised_at: float
    legs: set[Place] = field(default_factory=set)


def new_id() -> str:
    """Of an alert."""
    return f"alert_{uuid.uuid4().hex}"


class Rules:
    """The rules of a configuration, and what they know of the calls that go on."""

    def __init__(
        self,
        rules: Sequence[AlertRule],
        allow: Sequence[AllowedVoice] = (),
        make_id: Callable[[], str] = new_id,
    ) -> None:
        self.allowed = 0
        """Decisions that raised nothing because the voice may be synthetic."""
        self._rules = rules
        self._allow = allow
        self._make_id = make_id
        self._calls: dict[str, CallStarted] = {}
        self._suspects: dict[Place, _Suspect] = {}
        self._firing: dict[Group, _Firing] = {}
        self._cooldowns: dict[Group, float] = {}

    def on(self, event: Event, now: float) -> list[AlertEvent]:
        """The alerts that an event raises or resolves.

        Args:
            event: any; in the order in which they were published.
            now: seconds of a clock that never goes back.
        """
        match event:
            case CallStarted(call_id=str(call)):
                self._calls[call] = event
            case DecisionChanged(call_id=str(call), leg=str(leg)):
                return self._decided((call, leg), event, now)
            case WindowScored(call_id=str(call), leg=str(leg)) if (call, leg) in self._suspects:
                return self._heard((call, leg), event, now)
            case CallEnded(call_id=str(call)):
                return self._ended(call, event, now)
            case CallDeleted(call_id=str(call)):
                self._forget(call)
        return []

    def _decided(self, place: Place, event: DecisionChanged, now: float) -> list[AlertEvent]:
        self._suspects.pop(place, None)
        if event.decision is Decision.HUMAN:
            return self._released({place}, event, event.at_s, now)
        started = self._calls.get(place[0])
        rules = [rule for rule in self._rules if _concerns(rule, place[1], event, started)]
        if rules and any(_fits(voice, place[1], started) for voice in self._allow):
            self.allowed += 1
            return []
        suspect = _Suspect(event, rules, event.at_s, event.speech_s, event.smoothed)
        return self._tried(place, suspect, now)

    def _heard(self, place: Place, window: WindowScored, now: float) -> list[AlertEvent]:
        suspect = self._suspects[place]
        if window.score is not None and window.end_s > suspect.at_s:
            span_s = window.end_s - window.start_s
            new_s = min(window.end_s - suspect.at_s, span_s)  # windows overlap
            suspect.speech_s += window.speech_s * new_s / span_s
            suspect.at_s, suspect.smoothed = window.end_s, window.smoothed
        return self._tried(place, suspect, now)

    def _tried(self, place: Place, suspect: _Suspect, now: float) -> list[AlertEvent]:
        raised: list[AlertEvent] = []
        waiting: list[AlertRule] = []
        for rule in suspect.rules:
            group = _group(rule, place, self._calls.get(place[0]))
            if suspect.speech_s < rule.min_speech_s:
                waiting.append(rule)
            elif group in self._firing:
                self._firing[group].legs.add(place)
            elif now < self._cooldowns.get(group, now):
                waiting.append(rule)
            else:
                raised.append(alert := self._raised(rule, suspect))
                self._firing[group] = _Firing(alert, now, {place})
                self._cool(group, rule, now)
        suspect.rules = waiting
        if waiting:
            self._suspects[place] = suspect
        else:
            self._suspects.pop(place, None)
        return raised

    def _ended(self, call: str, event: CallEnded, now: float) -> list[AlertEvent]:
        self._calls.pop(call, None)
        for place in [place for place in self._suspects if place[0] == call]:
            del self._suspects[place]
        places = {place for firing in self._firing.values() for place in firing.legs if place[0] == call}
        return self._released(places, event, event.duration_s, now)

    def _forget(self, call: str) -> None:
        """An alert that other calls keep firing names a deleted one no more: its end is written down."""
        for firing in self._firing.values():
            if firing.alert.call_id == call:
                firing.alert = firing.alert.model_copy(update={"call_id": None, "leg": None})

    def _released(self, places: set[Place], event: Event, at_s: float, now: float) -> list[AlertEvent]:
        resolved: list[AlertEvent] = []
        for group, firing in list(self._firing.items()):
            if not firing.legs & places:
                continue
            firing.legs -= places
            if firing.legs:
                continue
            del self._firing[group]
            alert = firing.alert
            # Another call's time says nothing about that of the call that raised it.
            own = at_s if alert.call_id == event.call_id else alert.at_s + now - firing.raised_at
            resolved.append(
                AlertResolved(
                    call_id=alert.call_id,
                    leg=alert.leg,
                    alert_id=alert.alert_id,
                    rule=alert.rule,
                    severity=alert.severity,
                    reason="call_ended" if isinstance(event, CallEnded) else "cleared",
                    at_s=own,
                )
            )
        return resolved

    def _cool(self, group: Group, rule: AlertRule, now: float) -> None:
        if not rule.cooldown_s:
            return
        self._cooldowns = {key: until for key, until in self._cooldowns.items() if until > now}
        if len(self._cooldowns) >= MAX_COOLDOWNS:
            del self._cooldowns[next(iter(self._cooldowns))]
        self._cooldowns[group] = now + rule.cooldown_s

    def _raised(self, rule: AlertRule, suspect: _Suspect) -> AlertRaised:
        decided = suspect.decided
        score = "" if suspect.smoothed is None else f" (score {suspect.smoothed:.2f})"
        word = "Synthetic" if decided.decision is Decision.SYNTHETIC else "Possibly synthetic"
        return AlertRaised(
            call_id=decided.call_id,
            leg=decided.leg,
            alert_id=self._make_id(),
            rule=rule.name,
            severity=rule.severity,
            summary=f"{word} voice suspected on {decided.leg} of call {decided.call_id}{score}",
            at_s=suspect.at_s,
            smoothed=suspect.smoothed,
            speech_s=suspect.speech_s,
            model=decided.model,
            explanation=decided.explanation,
        )


def _concerns(rule: AlertRule, leg: str, event: DecisionChanged, started: CallStarted | None) -> bool:
    return (
        event.decision.value in rule.states
        and (not rule.legs or any(fnmatchcase(leg, pattern) for pattern in rule.legs))
        and (not rule.sources or (started is not None and started.source in rule.sources))
    )


def _group(rule: AlertRule, place: Place, started: CallStarted | None) -> Group:
    if rule.group == "leg":
        return (rule.name, *place)
    value = None
    if started and rule.group != "call":
        value = _said(started.metadata, rule.group.removeprefix("metadata."))
    return (rule.name, place[0]) if value is None else (rule.name, "metadata", value)


def _fits(voice: AllowedVoice, leg: str, started: CallStarted | None) -> bool:
    metadata = started.metadata if started else {}
    return (
        (voice.leg is None or fnmatchcase(leg, voice.leg))
        and (voice.number is None or _has_number(leg, metadata, voice.number))
        and all(_matches(_said(metadata, key), pattern) for key, pattern in voice.metadata.items())
    )


def _has_number(leg: str, metadata: Mapping[str, Any], pattern: str) -> bool:
    own = [number for role, number in numbers_of(metadata) if SPEAKERS[role] == leg]
    return any(fnmatchcase(normal(number), normal(pattern)) for number in own)


def _matches(value: str | None, pattern: str) -> bool:
    return value is not None and fnmatchcase(value, pattern)


def _said(metadata: Mapping[str, Any], path: str) -> str | None:
    """What stands under a key, ``outer.inner`` for one inside another; None where that is no single value."""
    value: Any = metadata
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None

"""Which events are alerts. Pure: events in, alerts out."""

import uuid
from collections.abc import Callable

from fac_stream.events import AlertRaised, AlertResolved, CallEnded, Decision, DecisionChanged, Event

RULE = "synthetic-voice"


def _new_id() -> str:
    return f"alert_{uuid.uuid4().hex}"


class SyntheticVoice:
    """Fires when a leg turns ``synthetic``; resolves when it turns ``human``, or when the call ends."""

    def __init__(self, new_id: Callable[[], str] = _new_id) -> None:
        self._new_id = new_id
        self._firing: dict[tuple[str, str], str] = {}

    def on(self, event: Event) -> list[AlertRaised | AlertResolved]:
        """The alerts that an event raises or resolves."""
        if isinstance(event, DecisionChanged) and event.call_id is not None and event.leg is not None:
            key = (event.call_id, event.leg)
            if event.decision is Decision.SYNTHETIC and key not in self._firing:
                self._firing[key] = self._new_id()
                return [self._raised(event, self._firing[key])]
            if event.decision is Decision.HUMAN and key in self._firing:
                return [self._resolved(*key, "cleared", event.at_s)]
        if isinstance(event, CallEnded):
            keys = [key for key in self._firing if key[0] == event.call_id]
            return [self._resolved(*key, "call_ended", event.duration_s) for key in keys]
        return []

    def _raised(self, event: DecisionChanged, alert_id: str) -> AlertRaised:
        score = "" if event.smoothed is None else f" (score {event.smoothed:.2f})"
        return AlertRaised(
            call_id=event.call_id,
            leg=event.leg,
            alert_id=alert_id,
            rule=RULE,
            severity="critical",
            summary=f"Synthetic voice suspected on {event.leg} of call {event.call_id}{score}",
            at_s=event.at_s,
            smoothed=event.smoothed,
            speech_s=event.speech_s,
            model=event.model,
        )

    def _resolved(self, call_id: str, leg: str, reason: str, at_s: float) -> AlertResolved:
        alert_id = self._firing.pop((call_id, leg))
        return AlertResolved.model_validate(
            {
                "call_id": call_id,
                "leg": leg,
                "alert_id": alert_id,
                "rule": RULE,
                "reason": reason,
                "at_s": at_s,
            }
        )

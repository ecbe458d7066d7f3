"""What Genesys hears of a call: scores and decisions as ``event`` entities, at a bounded rate.

The rate is bounded by the audio's own time, so that a call is answered alike however fast it is scored. The
protocol leaves entity types to the server: ours is ``ENTITY_TYPE``.
"""

from pydantic import JsonValue

from fac_stream.events import AnyEvent, Decision, WindowScored
from fac_stream.protocols.audiohook_messages import duration

ENTITY_TYPE = "synthetic-voice"
MIN_GAP_S = 1.0
"""Seconds of audio between two messages, whatever happens."""
DEFAULT_RETRY_S = 60.0
MAX_RETRY_S = 600.0

Entity = dict[str, JsonValue]

_CHANNELS = {"caller": "external", "agent": "internal"}


class Scores:
    """Keeps the latest of each leg until it may be sent.

    Args:
        every_s: seconds of audio from one message with scores to the next; a decision that changed does not
            wait for it, only for ``MIN_GAP_S``.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._latest: dict[str, Entity] = {}
        self._decisions: dict[str, Decision] = {}
        self._changed = False
        self._heard_s = 0.0
        self._due_s = 0.0
        self._change_due_s = 0.0

    def add(self, event: AnyEvent) -> list[Entity]:
        """Take an event of the call; the entities that are to be sent now, which may be none."""
        if not isinstance(event, WindowScored) or event.leg is None:
            return []
        changed = event.decision is not self._decisions.get(event.leg, Decision.UNKNOWN)
        if event.score is None and not changed:
            return []
        self._changed = self._changed or changed
        self._decisions[event.leg] = event.decision
        self._latest[event.leg] = _entity(event, event.leg)
        self._heard_s = max(self._heard_s, event.end_s)
        if self._heard_s < (self._change_due_s if self._changed else self._due_s):
            return []
        return self.rest()

    def rest(self) -> list[Entity]:
        """What was not sent yet, at most one entity a leg."""
        entities = list(self._latest.values())
        if entities:
            self._latest, self._changed = {}, False
            self._due_s = self._heard_s + self._every_s
            self._change_due_s = self._heard_s + min(MIN_GAP_S, self._every_s)
        return entities

    def wait(self, retry_s: float | None) -> None:
        """The client is sent too much: nothing for this time, no decision either."""
        pause_s = min(DEFAULT_RETRY_S if retry_s is None else retry_s, MAX_RETRY_S)
        self._due_s = self._change_due_s = self._heard_s + pause_s


def _entity(event: WindowScored, leg: str) -> Entity:
    data: Entity = {
        "channel": _CHANNELS.get(leg, leg),
        "position": duration(event.start_s),
        "duration": duration(event.end_s - event.start_s),
        "score": event.score,
        "smoothed": event.smoothed,
        "decision": event.decision.value,
        "model": event.model,
    }
    return {"type": ENTITY_TYPE, "data": data}

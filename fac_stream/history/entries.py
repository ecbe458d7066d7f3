"""What is written into the history: functions of a connection, for one transaction or several.

Each may run twice, because a disk that did not answer in time may have written all the same. What belongs to
a call that is no longer there is not written.
"""

import json
import sqlite3
from dataclasses import dataclass

from fac_stream.calls.decision import worst
from fac_stream.config_storage import History
from fac_stream.errors import ConflictError
from fac_stream.events import (
    AlertMarked,
    AlertRaised,
    AlertResolved,
    CallEnded,
    CallStarted,
    Decision,
    DecisionChanged,
    Event,
    WindowScored,
)
from fac_stream.history.numbers import Hashes, harmless, numbers_of
from fac_stream.history.schema import CRASH, STEP_S


@dataclass(slots=True)
class LegSoFar:
    """What the windows of one leg come to since its call began."""

    decision: Decision = Decision.UNKNOWN
    worst: Decision = Decision.UNKNOWN
    windows: int = 0
    scored: int = 0
    peak: float | None = None
    smoothed: float | None = None

    def add(self, event: WindowScored) -> None:
        """Count one window."""
        self.windows += 1
        self.smoothed, self.decision = event.smoothed, event.decision
        self.worst = worst([self.worst, event.decision])
        if event.score is not None:
            self.scored += 1
            self.peak = max(event.score, self.peak or 0.0)


@dataclass(slots=True)
class Step:
    """What the windows of one leg in ``STEP_S`` seconds come to."""

    number: int
    windows: int = 0
    scored: int = 0
    sum: float = 0.0
    peak: float | None = None
    smoothed: float | None = None
    decision: Decision = Decision.UNKNOWN

    def add(self, event: WindowScored) -> None:
        """Count one window."""
        self.windows += 1
        self.smoothed, self.decision = event.smoothed, event.decision
        if event.score is not None:
            self.scored += 1
            self.sum += event.score
            self.peak = max(event.score, self.peak or 0.0)

    @staticmethod
    def number_of(event: WindowScored) -> int:
        """To which step a window belongs: that of its end."""
        return int(event.end_s // STEP_S)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A call that was accepted, and how it is to be written down."""

    call: int
    life: str
    model: str
    event: CallStarted
    settings: History
    hashes: Hashes

    def write(self, connection: sqlite3.Connection) -> None:
        """Write it.

        Raises:
            StorageError: its numbers cannot be hashed.
        """
        event = self.event
        connection.execute(
            "INSERT INTO call (id, call_id, life, source, model, sample_rate, encoding, metadata)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                self.call,
                event.call_id,
                self.life,
                event.source,
                self.model,
                event.sample_rate,
                event.encoding,
                harmless(event.metadata, self.settings.metadata),
            ),
        )
        for role, text in numbers_of(event.metadata):
            plain = text if self.settings.numbers == "plain" else None
            _add(connection, "number", self.call, role=role, hash=self.hashes.number(text), plain=plain)


def decide(call: int, event: DecisionChanged, of_call: Decision, connection: sqlite3.Connection) -> None:
    """The decision on a leg changed; ``of_call`` is the most severe one on any leg so far."""
    _add(
        connection,
        "decision",
        call,
        seq=event.seq,
        leg=event.leg,
        time=seconds(event),
        at_s=event.at_s,
        previous=event.previous.value,
        decision=event.decision.value,
        smoothed=event.smoothed,
        speech_s=event.speech_s,
    )
    connection.execute("UPDATE call SET decision = ? WHERE id = ?", (of_call.value, call))


def step(call: int, leg: str, it: Step, so_far: LegSoFar, connection: sqlite3.Connection) -> None:
    """A piece of a leg's timeline, and where the leg stands after it."""
    _add(
        connection,
        "step",
        call,
        leg=leg,
        step=it.number,
        windows=it.windows,
        scored=it.scored,
        mean=it.sum / it.scored if it.scored else None,
        peak=it.peak,
        smoothed=it.smoothed,
        decision=it.decision.value,
    )
    _add(
        connection,
        "leg",
        call,
        leg=leg,
        decision=so_far.decision.value,
        worst_decision=so_far.worst.value,
        smoothed=so_far.smoothed,
        peak_score=so_far.peak,
        windows=so_far.windows,
        scored=so_far.scored,
    )


def end(call: int, event: CallEnded, of_call: Decision, connection: sqlite3.Connection) -> None:
    """A call is over; ``of_call`` is the most severe decision on any leg."""
    connection.execute(
        "UPDATE call SET ended_at = ?, end_reason = ?, duration_s = ?, lost_s = ?, decision = ? WHERE id = ?",
        (seconds(event), event.reason.value, event.duration_s, event.lost_s, of_call.value, call),
    )
    for leg in event.legs:
        _add(
            connection,
            "leg",
            call,
            leg=leg.leg,
            decision=leg.decision.value,
            worst_decision=leg.worst_decision.value,
            smoothed=leg.smoothed,
            peak_score=leg.peak_score,
            windows=leg.windows,
            scored=leg.scored,
            speech_s=leg.speech_s,
            quality=json.dumps(leg.quality),
        )


def alert(call: int | None, event: AlertRaised, connection: sqlite3.Connection) -> None:
    """An alert was raised; one about the daemon has no call."""
    _add(
        connection,
        "alert",
        call,
        alert_id=event.alert_id,
        leg=event.leg,
        category=event.category,
        rule=event.rule,
        severity=event.severity,
        raised_at=seconds(event),
        at_s=event.at_s,
        smoothed=event.smoothed,
        model=event.model,
    )


def resolve(event: AlertResolved, connection: sqlite3.Connection) -> None:
    """An alert is over."""
    connection.execute(
        "UPDATE alert SET resolved_at = ?, resolution = ? WHERE alert_id = ?",
        (seconds(event), event.reason, event.alert_id),
    )


def mark(event: AlertMarked, connection: sqlite3.Connection) -> None:
    """Somebody said what an alert was; a mere acknowledgement is no verdict."""
    if event.mark != "acknowledged":
        connection.execute("UPDATE alert SET verdict = ? WHERE alert_id = ?", (event.mark, event.alert_id))


def close_orphans(life: str, connection: sqlite3.Connection) -> int:
    """End the calls that an earlier daemon did not live to end, when they were last heard of; how many."""
    orphans = connection.execute(
        "SELECT id, (SELECT max(step) + 1 FROM step WHERE call = call.id) FROM call"
        " WHERE end_reason IS NULL AND life <> ?",
        (life,),
    ).fetchall()
    for call, steps in orphans:
        duration_s = (steps or 0) * STEP_S
        ended_at = call / 1e6 + duration_s
        connection.execute(
            "UPDATE call SET end_reason = ?, ended_at = ?, duration_s = ? WHERE id = ?",
            (CRASH, ended_at, duration_s, call),
        )
        connection.execute(
            "UPDATE alert SET resolved_at = ?, resolution = 'call_ended'"
            " WHERE call = ? AND resolved_at IS NULL",
            (ended_at, call),
        )
    return len(orphans)


def delete(call_id: str, by: str, connection: sqlite3.Connection) -> int:
    """Delete all calls of this id and ask the daemon to tell everybody who keeps something; how many.

    ``by`` stands in the audit log.

    Raises:
        ConflictError: one of them is going on.
    """
    if connection.execute(
        "SELECT 1 FROM call WHERE call_id = ? AND end_reason IS NULL", (call_id,)
    ).fetchone():
        raise ConflictError(
            f"call {call_id!r} is going on: delete it when it has ended; if its daemon died, start it once"
        )
    deleted = connection.execute("DELETE FROM call WHERE call_id = ?", (call_id,)).rowcount
    connection.execute(
        "INSERT INTO deletion (call_id, who) VALUES (?, ?) ON CONFLICT DO NOTHING", (call_id, by)
    )
    return deleted


def seconds(event: Event) -> float:
    """When an event was published, Unix seconds."""
    return event.time.timestamp() if event.time else 0.0


def _add(connection: sqlite3.Connection, table: str, call: int | None, **columns: str | float | None) -> None:
    """Insert or replace a row, unless its call is gone."""
    connection.execute(
        f"INSERT OR REPLACE INTO {table} (call, {', '.join(columns)})"  # noqa: S608 - no part comes from outside
        f" SELECT :call, {', '.join(f':{name}' for name in columns)}"
        " WHERE :call IS NULL OR EXISTS (SELECT 1 FROM call WHERE id = :call)",
        {"call": call, **columns},
    )

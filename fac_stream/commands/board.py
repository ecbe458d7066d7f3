"""The table of ``fac watch``: calls and legs as last heard of."""

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from fac_stream.events import (
    AlertRaised,
    AlertResolved,
    AnyEvent,
    CallEnded,
    CallStarted,
    Decision,
    DecisionChanged,
    LegSummary,
    Snapshot,
    WindowScored,
)

METER_WIDTH = 20
STYLES = {
    Decision.UNKNOWN: "dim",
    Decision.HUMAN: "green",
    Decision.SUSPICIOUS: "yellow",
    Decision.SYNTHETIC: "bold red",
}


@dataclass(slots=True)
class Row:
    """One leg."""

    decision: Decision = Decision.UNKNOWN
    smoothed: float | None = None
    score: float | None = None
    speech_s: float | None = None
    """Speech in the last window."""
    level_dbfs: float | None = None
    at_s: float = 0.0
    """Where the call is, seconds since its start."""

    @classmethod
    def of(cls, leg: LegSummary, at_s: float) -> "Row":
        """What the snapshot says of a leg."""
        return cls(leg.decision, leg.smoothed, leg.last_score, None, leg.level_dbfs, at_s)


class Board:
    """The state that events build up; a snapshot starts it afresh."""

    def __init__(self, url: str) -> None:
        self.status = f"connecting to {url} …"
        self.rows: dict[tuple[str, str], Row] = {}
        self.alerts: dict[str, AlertRaised] = {}

    def lost(self, reason: str, pause_s: float) -> None:
        """The connection is gone; what is shown may be old."""
        self.status = f"{reason}; trying again in {pause_s:.1f} s"

    def apply(self, event: AnyEvent) -> None:
        """Take in one event."""
        match event:
            case Snapshot():
                self._reset(event)
            case CallStarted(call_id=str(call)):
                self.rows |= {(call, leg): Row() for leg in event.legs}
            case WindowScored(call_id=str(call), leg=str(leg)):
                self.rows[call, leg] = Row(
                    event.decision, event.smoothed, event.score, event.speech_s, event.level_dbfs, event.end_s
                )
            case DecisionChanged(call_id=str(call), leg=str(leg)):
                row = self.rows.setdefault((call, leg), Row())
                row.decision, row.smoothed = event.decision, event.smoothed
            case AlertRaised():
                self.alerts[event.alert_id] = event
            case AlertResolved():
                self.alerts.pop(event.alert_id, None)
            case CallEnded():
                self.rows = {key: row for key, row in self.rows.items() if key[0] != event.call_id}

    def _reset(self, snapshot: Snapshot) -> None:
        self.status = f"{snapshot.model} on {snapshot.device}"
        self.rows = {
            (call.call_id, leg.leg): Row.of(leg, call.duration_s)
            for call in snapshot.calls
            for leg in call.legs
        }
        self.alerts = {alert.alert_id: alert for call in snapshot.calls for alert in call.alerts}

    def table(self) -> Table:
        """The picture: the most suspicious legs on top, as a terminal shows only so many lines."""
        table = Table(title=Text(self.status), caption=self._caption(), expand=True)
        table.add_column("Call", ratio=1, no_wrap=True)
        table.add_column("Leg", no_wrap=True)
        table.add_column("Meter", width=METER_WIDTH)
        for name in ("Score", "Decision", "Speech", "Level", "Time"):
            table.add_column(name, justify="right", no_wrap=True)
        legs = sorted(self.rows.copy().items(), key=lambda entry: -(entry[1].smoothed or 0.0))
        for (call, leg), row in legs:
            table.add_row(Text(call), Text(leg), meter(row), *_cells(row))
        return table

    def _caption(self) -> Text:
        summaries = [alert.summary for alert in self.alerts.copy().values()]
        return Text(
            "\n".join(summaries[-5:]) if summaries else "no alerts", style="red" if summaries else "dim"
        )


def meter(row: Row) -> Text:
    """The smoothed score as a bar; empty where there is none."""
    filled = round((row.smoothed or 0.0) * METER_WIDTH)
    return Text("█" * filled + "░" * (METER_WIDTH - filled), style=STYLES[row.decision])


def _cells(row: Row) -> list[Text]:
    return [
        Text(f"{row.score:.2f}" if row.score is not None else "-"),
        Text(row.decision.value, style=STYLES[row.decision]),
        Text(f"{row.speech_s:.1f} s" if row.speech_s is not None else "-"),
        Text(f"{row.level_dbfs:.0f} dBFS" if row.level_dbfs is not None else "-"),
        Text(f"{row.at_s // 60:.0f}:{row.at_s % 60:04.1f}"),
    ]

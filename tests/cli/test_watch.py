import io
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from websockets.sync.server import serve

from fac_stream import client
from fac_stream.commands.board import METER_WIDTH, Board
from fac_stream.commands.watch import line
from fac_stream.events import (
    AlertRaised,
    AlertResolved,
    CallEnded,
    CallStarted,
    CallSummary,
    Decision,
    DecisionChanged,
    EndReason,
    LegSummary,
    SkipReason,
    Snapshot,
    WindowScored,
    decode,
    encode,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = "m@00000000"
ALERT = AlertRaised(
    call_id="old", leg="caller", alert_id="1", rule="synthetic", severity="critical",
    summary="[b]Machine[/b]!", at_s=9.0, smoothed=0.97, speech_s=8.0, model=MODEL,
)  # fmt: skip
LEG = LegSummary(
    leg="caller", decision=Decision.SYNTHETIC, worst_decision=Decision.SYNTHETIC, smoothed=0.97,
    last_score=0.99, peak_score=0.99, windows=20, scored=18, speech_s=8.0, level_dbfs=-20.0,
)  # fmt: skip
OLD = CallSummary(
    call_id="old", source="websocket", started_at=NOW, ended_at=None, end_reason=None, duration_s=10.0,
    sample_rate=8000, encoding="mulaw", metadata={}, legs=[LEG], alerts=[ALERT],
)  # fmt: skip
SNAPSHOT = Snapshot(
    seq=7,
    time=NOW,
    model=MODEL,
    device="cpu",
    hop_s=0.5,
    raise_at=0.9,
    suspect_at=0.7,
    clear_at=0.5,
    calls=[OLD],
)
STARTED = CallStarted(
    call_id="new", source="file", legs=["caller", "agent"], sample_rate=16_000, encoding="pcm_f32le"
)
CHANGED = DecisionChanged(
    call_id="new", leg="agent", previous=Decision.UNKNOWN, decision=Decision.SUSPICIOUS, at_s=4.0,
    smoothed=0.75, speech_s=3.0, model=MODEL,
)  # fmt: skip
RESOLVED = AlertResolved(
    call_id="old", leg="caller", alert_id="1", rule="synthetic", reason="cleared", at_s=20.0
)
ENDED = CallEnded(call_id="old", reason=EndReason.IDLE, detail="no audio", duration_s=21.0, legs=[LEG])


def scored(score, **changes):
    """A scored window of the new call's agent; None was skipped."""
    fields = {
        "call_id": "new", "leg": "agent", "index": 4, "start_s": 2.0, "end_s": 4.0, "score": score,
        "skipped": None if score is not None else SkipReason.NO_SPEECH, "smoothed": score, "speech_s": 1.5,
        "level_dbfs": -31.4, "decision": Decision.HUMAN, "model": MODEL,
    }  # fmt: skip
    return WindowScored(**fields | changes)


@contextmanager
def daemon(*events):
    """Sends these to the first subscriber and refuses the next one for good; yields the address."""
    served = []

    def refuse_later(connection, request):
        return connection.respond(401, "no\n") if served else None

    def handler(connection):
        served.append(connection)
        for event in events:
            connection.send(encode(event))

    with serve(handler, "127.0.0.1", 0, process_request=refuse_later) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Reconnects follow at once."""
    monkeypatch.setattr(client, "FIRST_RETRY_S", 0.0)


def picture(board):
    """The table as text."""
    console = Console(file=io.StringIO(), width=110)
    console.print(board.table())
    return console.file.getvalue()


EVENTS = [SNAPSHOT, STARTED, scored(0.42), scored(None), CHANGED, RESOLVED, ENDED]


def test_json_is_every_event_as_it_came(fac):
    """Standard output has the events and nothing else; the loss of the connection is told elsewhere."""
    with daemon(*EVENTS) as url:
        outcome = fac("watch", url, "--json")

    assert [json.loads(line) for line in outcome.out.splitlines()] == [json.loads(encode(e)) for e in EVENTS]
    assert "the daemon closed the connection" in outcome.err
    assert outcome.code == 1
    assert "server.token" in outcome.err


def test_without_a_terminal_every_event_is_a_plain_line(fac):
    """What goes into a file or a pipe has neither colours nor boxes."""
    with daemon(*EVENTS, ALERT) as url:
        lines = fac("watch", url).out.splitlines()

    what = [line.split(None, 1)[1] for line in lines]
    assert len(lines) == len(EVENTS) + 1
    assert what[0] == f"snapshot          1 calls going on, scored by {MODEL} on cpu"
    assert what[1] == "call.started      new  file, legs caller, agent, 16000 Hz"
    assert what[2] == "window.scored     new/agent  4.0 s  score 0.42  human"
    assert what[3] == "window.scored     new/agent  4.0 s  no score: no_speech  human"
    assert what[4] == "decision.changed  new/agent  4.0 s  unknown -> suspicious"
    assert what[5] == "alert.resolved    old/caller  synthetic: cleared"
    assert what[6] == "call.ended        old  idle after 21.0 s: no audio"
    assert what[7] == "alert.raised      old/caller  critical: [b]Machine[/b]!"
    assert all(line.isprintable() and line.isascii() for line in lines)


def test_a_wrong_address_is_told_at_once(fac):
    """No waiting for a daemon that cannot be."""
    outcome = fac("watch", "ftp://host")

    assert outcome.code == 1
    assert "no address of a daemon" in outcome.err


def test_the_table_shows_what_the_snapshot_says():
    """Calls, legs, meter, score, decision, level, time and alerts."""
    board = Board("ws://host")
    board.apply(SNAPSHOT)

    text = picture(board)

    row = next(line for line in text.splitlines() if "old" in line)
    assert "caller" in row
    assert row.count("█") == round(0.97 * METER_WIDTH)
    for part in ("0.99", "synthetic", "-20 dBFS", "0:10.0"):
        assert part in row
    assert f"{MODEL} on cpu" in text
    assert "[b]Machine[/b]!" in text


def test_the_table_follows_the_events():
    """Each event changes what it is about, and no more."""
    board = Board("ws://host")
    for event in (SNAPSHOT, STARTED, scored(0.42), CHANGED):
        board.apply(event)

    assert set(board.rows) == {("old", "caller"), ("new", "caller"), ("new", "agent")}
    agent = board.rows["new", "agent"]
    assert (agent.score, agent.smoothed, agent.decision) == (0.42, 0.75, Decision.SUSPICIOUS)

    for event in (scored(None), RESOLVED, ENDED):
        board.apply(event)

    assert set(board.rows) == {("new", "caller"), ("new", "agent")}
    assert board.rows["new", "agent"].score is None
    assert "no alerts" in picture(board)


def test_a_leg_that_was_not_scored_shows_no_score():
    """An empty meter and a dash are not the score 0."""
    board = Board("ws://host")
    board.apply(STARTED)

    row = next(line for line in picture(board).splitlines() if "agent" in line)

    assert "█" not in row
    assert "0.00" not in row
    assert "unknown" in row


def test_the_most_suspicious_leg_is_on_top():
    """A terminal shows so many lines; those that matter come first."""
    board = Board("ws://host")
    for event in (STARTED, scored(0.1, leg="caller"), scored(0.8)):
        board.apply(event)

    text = picture(board)

    assert text.index("agent") < text.index("caller")


def test_a_snapshot_starts_afresh():
    """What ended while the connection was gone does not stay on the board."""
    board = Board("ws://host")
    board.apply(STARTED)
    board.lost("closed by the daemon: 4008 too slow", 1.5)
    assert "[4008]" not in picture(board)
    assert "4008 too slow; trying again in 1.5 s" in picture(board)

    board.apply(SNAPSHOT)

    assert set(board.rows) == {("old", "caller")}
    assert "trying again" not in picture(board)


GOLDEN = Path(__file__).parent.parent / "data" / "events"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_event_has_a_line_and_a_place_on_the_board(path):
    """Whatever the daemon publishes can be watched, as lines and as a table."""
    event = decode(path.read_text())
    board = Board("ws://h/")
    board.apply(event)

    assert event.type in line(event)
    assert "\n" not in line(event)
    assert board.table().row_count >= 0

import json
import sqlite3
from contextlib import closing

import pytest

from fac_stream.alerts.ledger import MIGRATIONS

ROWS = [
    (1, "alert_a.raised", "alert_a", "alert.raised", "dead"),
    (2, "alert_a.resolved", "alert_a", "alert.resolved", "delivered"),
    (3, "alert_b.raised", "alert_b", "alert.raised", "pending"),
]


@pytest.fixture
def database(tmp_path):
    """A file with an alert that was given up and resolved, and one that waits."""
    path = tmp_path / "alerts.db"
    with closing(sqlite3.connect(path)) as file, file:
        for statement in MIGRATIONS[0].split(";"):
            file.execute(statement)
        file.execute("INSERT INTO hook VALUES ('h', 'desk.example.org', 'was gone')")
        for row, message_id, alert_id, kind, state in ROWS:
            data = {"alert_id": alert_id, "summary": "Suspected on call \x1b[31m4711"}
            body = json.dumps({"type": kind, "timestamp": "…", "data": data}).encode()
            file.execute(
                "INSERT INTO message VALUES (?, ?, ?, ?, 0, 'l', ?)", (row, message_id, alert_id, kind, body)
            )
            file.execute("INSERT INTO delivery VALUES (?, 'h', ?, 8, 0, 'HTTP 500')", (row, state))
    return path


def test_alerts_are_listed_with_their_deliveries(fac, database):
    """One line each, oldest first; nothing in them steers the terminal."""
    outcome = fac("alerts", "list", "--database", database)

    lines = outcome.out.splitlines()
    assert [line.split()[1:3] for line in lines] == [[it[2], it[3]] for it in ROWS]
    assert "[desk.example.org dead after 8: HTTP 500]" in lines[0]
    assert "\x1b" not in outcome.out


@pytest.mark.parametrize(
    "damage",
    ["body = x'7bff'", "body = CAST('{}' AS BLOB)", "body = CAST('[1]' AS BLOB)", "written_at = 9e99"],
)
def test_a_damaged_alert_is_left_out(fac, database, damage):
    """The others are listed, also by category, and standard error says which one is missing."""
    with closing(sqlite3.connect(database)) as file, file:
        file.execute(f"UPDATE message SET {damage} WHERE id = 2")
    for options in ((), ("--category", "fraud")):
        outcome = fac("alerts", "list", *options, "--database", database)

        assert outcome.code == 0
        assert [line.split()[1] for line in outcome.out.splitlines()] == ["alert_a", "alert_b"]
    assert "alert_a.resolved cannot be read" in fac("alerts", "list", "--database", database).err


def test_the_json_is_whole(fac, database):
    """One object a line, with the data that was posted and where each delivery stands."""
    entries = [
        json.loads(line) for line in fac("alerts", "dead", "--json", "--database", database).out.splitlines()
    ]

    (entry,) = entries
    assert (entry["webhook_id"], entry["written_at"]) == ("alert_a.raised", "1970-01-01T00:00:00Z")
    assert entry["data"]["alert_id"] == "alert_a"
    assert [(it["host"], it["state"], it["attempts"]) for it in entry["deliveries"]] == [
        ("desk.example.org", "dead", 8)
    ]


def test_an_alert_is_shown_whole(fac, database):
    """By the beginning of its id, both what raised and what resolved it."""
    shown = fac("alerts", "show", "alert_a", "--database", database).out

    assert '"alert_a.raised"' in shown
    assert '"alert_a.resolved"' in shown
    assert fac("alerts", "show", "nothing", "--database", database).code == 1


def test_replay_makes_the_dead_pending_and_the_gone_welcome(fac, database):
    """Only what was given up is tried again, from its first attempt; 410 is forgotten."""
    assert fac("alerts", "replay", "alert_b", "--database", database).code == 1
    assert "leave it out" in fac("alerts", "replay", "", "--database", database).err
    outcome = fac("alerts", "replay", "--database", database)

    assert outcome.out == "1 deliveries will be tried again\n"
    with closing(sqlite3.connect(database)) as file:
        assert file.execute("SELECT state, attempts FROM delivery ORDER BY message").fetchall() == [
            ("pending", 0),
            ("delivered", 8),
            ("pending", 8),
        ]
        assert file.execute("SELECT gone FROM hook").fetchall() == [(None,)]


def test_a_file_that_is_none_is_told(fac, tmp_path):
    """Neither is one made by looking, nor does a stranger's file cause a traceback."""
    missing = fac("alerts", "list", "--database", tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no database" * 1000)
    broken = fac("alerts", "list", "--database", tmp_path / "text.db")
    (tmp_path / "c.yaml").write_text("alerts: {database: null}\n")
    nowhere = fac("alerts", "list", "--config", tmp_path / "c.yaml")

    assert "there is no such file" in missing.err
    assert not (tmp_path / "none.db").exists()
    assert "no database" in broken.err
    assert "memory only" in nowhere.err
    assert [missing.code, broken.code, nowhere.code] == [1, 1, 2]

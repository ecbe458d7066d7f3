import json
import sqlite3
from contextlib import closing

import pytest

from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.alerts.message import Message
from fac_stream.events import AlertRaised


def alert(alert_id, category="fraud"):
    """An alert with this id."""
    return AlertRaised(
        call_id="c" if category == "fraud" else None,
        leg="caller" if category == "fraud" else None,
        alert_id=alert_id,
        category=category,
        rule="r",
        severity="critical",
        summary=f"something about {alert_id}",
        at_s=1.0,
        smoothed=0.9,
        speech_s=1.0,
        model="m",
    )


@pytest.fixture
def database(tmp_path):
    """A file with two alerts about voices and one about the daemon."""
    path = tmp_path / "alerts.db"
    with closing(sqlite3.connect(path)) as file, file:
        for migration in MIGRATIONS:
            for statement in migration.split(";"):
                file.execute(statement)
        file.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        for it in (alert("alert_a1"), alert("alert_a2"), alert("alert_h", "health")):
            message = Message.of(it)
            file.execute(
                "INSERT INTO message (message_id, alert_id, type, written_at, life, body)"
                " VALUES (?, ?, ?, 0, 'l', ?)",
                (message.message_id, message.alert_id, message.type, message.body),
            )
    return path


@pytest.mark.parametrize(
    ("command", "mark"),
    [("ack", "acknowledged"), ("confirm", "confirmed_fake"), ("reject", "false_alarm")],
)
def test_a_mark_is_written_and_shown(fac, database, command, mark):
    """By the beginning of an id, by whom one says; the list and the alert have it then."""
    options = ("--by", "Ada", "--note", "why not", "--database", database)
    said = fac("alerts", command, "alert_a1", *options)
    shown = json.loads(fac("alerts", "show", "alert_a1", "--json", "--database", database).out)
    line = fac("alerts", "list", "--database", database).out.splitlines()[0]

    assert (said.code, said.out.startswith("alert_a1 "), said.out.endswith(" by Ada\n")) == (0, True, True)
    (found,) = shown["marks"]
    assert (found["mark"], found["by"], found["note"]) == (mark, "Ada", "why not")
    assert f"({mark.replace('_', ' ')})" in line


def test_the_json_is_the_alert(fac, database):
    """As the API answers; without a name it is the user who says it."""
    record = json.loads(fac("alerts", "reject", "alert_h", "--json", "--database", database).out)

    assert (record["alert_id"], record["verdict"], record["category"]) == ("alert_h", "false_alarm", "health")
    assert record["marks"][0]["by"]


def test_which_alert_has_to_be_clear(fac, database):
    """None, or more than one, is told and nothing is marked; so is a name that is none."""
    refused = [fac("alerts", "ack", alert, "--database", database) for alert in ("alert_a", "nothing", "")]
    refused.append(fac("alerts", "ack", "alert_h", "--by", "x" * 65, "--database", database))

    assert [outcome.code for outcome in refused] == [1, 1, 1, 1]
    assert "more than one" in refused[0].err
    assert "no alert begins with 'nothing'" in refused[1].err
    assert "at most 64 characters" in refused[3].err
    with closing(sqlite3.connect(database)) as file:
        assert file.execute("SELECT * FROM mark").fetchall() == []


def test_health_is_apart(fac, database):
    """--category lists one kind; without it, both."""

    def listed(*options):
        out = fac("alerts", "list", "--json", *options, "--database", database).out
        return [json.loads(line)["data"]["alert_id"] for line in out.splitlines()]

    assert listed("--category", "health") == ["alert_h"]
    assert listed("--category", "fraud") == ["alert_a1", "alert_a2"]
    assert listed() == ["alert_a1", "alert_a2", "alert_h"]


def test_a_file_of_an_older_version_is_told(fac, tmp_path):
    """It is read as it is, and not marked before a daemon brought it up to date."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as file, file:
        for statement in MIGRATIONS[0].split(";"):
            file.execute(statement)
        file.execute("PRAGMA user_version = 1")

    assert fac("alerts", "list", "--category", "fraud", "--database", path).code == 0
    assert "start the daemon once" in fac("alerts", "ack", "alert_a", "--database", path).err

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
import yaml

from fac_stream.history.exports import columns, pyarrow
from fac_stream.storage.audit import person
from tests.history.keeping import living, raised, started, window


async def write(path):
    """A history of three calls; the last goes on."""
    async with living(path) as house:
        for number, decision in enumerate(["human", "synthetic"]):
            call_id = f"call-{number}"
            house.call(
                call_id,
                windows=[window(it) for it in range(20)],
                metadata={"from": f"+49 30 {number}"},
                decision=decision,
            )
            house.bus.publish(raised(f"alert-{number}", call_id))
        house.bus.publish(started("call-2\x1b[31m"))
        await house.recorder.drain()


@pytest.fixture
def config(tmp_path):
    """A configuration whose history has three calls."""
    asyncio.run(write(tmp_path / "history.db"))
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"history": {"database": str(tmp_path / "history.db")}}))
    return path


def test_calls_are_listed(fac, config):
    """Oldest first, a line each; nothing in them steers the terminal."""
    outcome = fac("history", "list", "--config", config)

    assert [line.split()[1:3] for line in outcome.out.splitlines()[:2]] == [
        ["call-0", "human"],
        ["call-1", "synthetic"],
    ]
    assert "going on" in outcome.out
    assert "\x1b" not in outcome.out


def test_lists_are_searches(fac, config):
    """By state, number and time, as JSON one object a line."""

    def found(*arguments):
        lines = fac("history", "list", "--json", "--config", config, *arguments).out.splitlines()
        return [json.loads(line)["call_id"] for line in lines]

    assert found("--state", "synthetic") == ["call-1"]
    assert found("--number", "0049300") == ["call-0"]
    assert found("--since", "1h", "--last", "2") == ["call-1", "call-2\x1b[31m"]
    assert found("--until", "1h") == []
    assert fac("history", "list", "--config", config, "--state", "fake").code == 2
    assert fac("history", "list", "--config", config, "--since", "soon").code == 2


def test_a_call_is_shown(fac, config):
    """All of it, as JSON; an unknown one is told."""
    shown = json.loads(fac("history", "show", "call-1", "--json", "--config", config).out)

    assert shown["alerts"][0]["alert_id"] == "alert-1"
    assert shown["timeline"]["caller"][0]["windows"] == 6
    assert fac("history", "show", "nobody", "--config", config).code == 1


def test_calls_are_exported(fac, config, tmp_path):
    """To standard output or a file, in the three formats."""
    text = fac("history", "export", "--config", config).out
    assert text.splitlines()[0].split(",") == list(columns("legs"))
    assert len(text.splitlines()) == 3
    lines = fac("history", "export", "--config", config, "--format", "json", "--table", "alerts").out
    assert [json.loads(line)["alert_id"] for line in lines.splitlines()] == ["alert-0", "alert-1"]
    path, table = tmp_path / "t.parquet", tmp_path / "t.csv"
    assert fac("history", "export", "--config", config, "--out", table).code == 0
    assert table.read_text() == text.replace("\r", "")
    out = ["--config", config, "--table", "timeline", "--state", "human", "--out", path]
    assert fac("history", "export", "--format", "parquet", *out).code == 0
    assert [oct(it.stat().st_mode & 0o777) for it in (path, table)] == ["0o600", "0o600"]
    _, parquet = pyarrow()
    assert set(parquet.read_table(path)["call_id"].to_pylist()) == {"call-0"}
    assert fac("history", "export", "--config", config, "--format", "parquet").code == 2


def test_a_deleted_call_is_gone_from_the_file(fac, config, tmp_path):
    """Its alerts too; what the daemon has to tell is noted, and nothing else is left of it."""
    outcome = fac("history", "delete", "call-1", "--config", config, "--json")

    assert json.loads(outcome.out) == {"call_id": "call-1", "deleted": 1}
    with closing(sqlite3.connect(tmp_path / "history.db")) as file:
        assert file.execute("SELECT * FROM deletion").fetchall() == [("call-1", person())]
        assert file.execute("SELECT alert_id FROM alert").fetchall() == [("alert-0",)]
    held = b"".join(it.read_bytes() for it in tmp_path.glob("history.db*"))
    assert b"alert-1" not in held
    assert b"alert-0" in held
    going_on = fac("history", "delete", "call-2\x1b[31m", "--config", config)
    assert (going_on.code, "going on" in going_on.err) == (1, True)


def test_a_file_that_is_none_is_told(fac, tmp_path):
    """Neither is one made by looking, nor does a stranger's file cause a traceback."""

    def listed(database):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({"history": {"database": database}}))
        return fac("history", "list", "--config", tmp_path / "c.yaml")

    (tmp_path / "text.db").write_text("no database" * 1000)
    missing, broken, nowhere = (listed(it) for it in (f"{tmp_path}/none.db", f"{tmp_path}/text.db", None))

    assert "there is no such file" in missing.err
    assert not (tmp_path / "none.db").exists()
    assert "no database" in broken.err
    assert "no history is written" in nowhere.err
    assert [missing.code, broken.code, nowhere.code] == [1, 1, 2]

import csv
import io
import json
import sys
from functools import partial

import pytest

from fac_stream.errors import ConfigError
from fac_stream.history import exports
from fac_stream.history.exports import PARTS, columns, rows
from fac_stream.history.searches import Search
from tests.fakes import a_decision
from tests.history.keeping import living, raised, window


@pytest.fixture
async def house(tmp_path):
    """A history of two calls."""
    async with living(tmp_path / "history.db", numbers="plain") as started:
        for call_id in ("one", 'two,"quoted"'):
            metadata = {"from": "+49 30 1", "to": "+49 30 2"}
            started.call(call_id, end=False, windows=[window(it) for it in range(20)], metadata=metadata)
            started.bus.publish(a_decision(call_id=call_id))
            started.bus.publish(raised(f"alert-{call_id}", call_id))
            started.call(call_id, windows=[], metadata=metadata)
        await started.recorder.drain()
        yield started


async def read(house, table):
    """All rows of a table."""
    return await house.recorder.ask(lambda connection: list(rows(table, Search(), house.hashes, connection)))


@pytest.mark.parametrize("table", PARTS)
async def test_every_format_says_the_same(house, table, tmp_path):
    """CSV, JSON lines and Parquet hold the same rows, oldest call first, in the columns that are promised."""
    found = await read(house, table)
    text, lines, path = io.StringIO(), io.StringIO(), tmp_path / "t.parquet"

    exports.write_csv(iter(found), table, text)
    exports.write_json(iter(found), lines)
    with path.open("wb") as file:
        exports.write_parquet(iter(found), table, file)

    assert found
    assert list(found[0]) == list(columns(table))
    assert [it["started_at"] for it in found] == sorted(it["started_at"] for it in found)
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == found
    as_text = [{name: "" if it is None else str(it) for name, it in row.items()} for row in found]
    assert list(csv.DictReader(io.StringIO(text.getvalue()))) == as_text
    _, parquet = exports.pyarrow()
    assert parquet.read_table(path).to_pylist() == found


@pytest.mark.parametrize(
    ("caller", "cell"),
    [
        ('=HYPERLINK("http://e.example")', '\'=HYPERLINK("http://e.example")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3+A1", "'-2+3+A1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+49 (30) 12-34", "+49 (30) 12-34"),
        ("sip:=1@e.example", "sip:=1@e.example"),
    ],
)
async def test_no_caller_writes_a_formula(tmp_path, caller, cell):
    """What a spreadsheet would compute is text in CSV; the number itself stays in the other formats."""
    text, lines = io.StringIO(), io.StringIO()
    async with living(tmp_path / "history.db", numbers="plain") as house:
        house.call(metadata={"from": caller})
        await house.recorder.drain()
        found = await read(house, "legs")
    exports.write_csv(iter(found), "legs", text)
    exports.write_json(iter(found), lines)

    [row] = csv.DictReader(io.StringIO(text.getvalue()))
    assert (row["caller"], json.loads(lines.getvalue())["caller"]) == (cell, caller)


async def test_each_row_begins_with_its_call(house):
    """Who called whom, from where and how it ended stands beside every leg, decision, step and alert."""
    for table in PARTS:
        for row in await read(house, table):
            assert (row["source"], row["caller"], row["callee"]) == ("websocket", "+49 30 1", "+49 30 2")


async def test_an_export_is_a_search(house):
    """Only the calls that were asked for are written."""
    search = Search(state="active")
    found = await house.recorder.ask(partial(_rows, "decisions", search, house.hashes))

    assert {row["call_id"] for row in found} == {"one", 'two,"quoted"'}
    assert {row["end_reason"] for row in found} == {None}


def _rows(*arguments):
    return list(rows(*arguments))


async def test_an_empty_history_has_its_columns(tmp_path):
    """Programs that read the file find the names and types all the same."""
    text = io.StringIO()
    exports.write_csv(iter([]), "legs", text)
    with (tmp_path / "t").open("wb") as file:
        exports.write_parquet(iter([]), "legs", file)

    assert text.getvalue().strip().split(",") == list(columns("legs"))
    _, parquet = exports.pyarrow()
    assert parquet.read_table(tmp_path / "t").schema.names == list(columns("legs"))


def test_a_missing_library_is_told(monkeypatch):
    """Without pyarrow the message says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ConfigError, match=r"pip install 'fac-stream\[parquet\]'"):
        exports.write_parquet(iter([]), "legs", io.BytesIO())

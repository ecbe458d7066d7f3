import fcntl
import hashlib
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import StorageError
from fac_stream.storage import audit as audit_module
from fac_stream.storage.audit import MAX_LINE_BYTES, START, AuditLog, entries, verify

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("FAC_KILL_ROUNDS", "8"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def written(path, count=5):
    """A log with some entries; its lines."""
    log = AuditLog(path)
    for number in range(count):
        log.add("test", number=number, note="ä, \n and \x00")
    return path.read_bytes().splitlines(keepends=True)


def test_entries_come_back_in_order_and_private(tmp_path):
    """Numbered from 1, each naming the hash before; the file is its owner's alone; nothing is wrong."""
    path = tmp_path / "state" / "audit.jsonl"
    lines = written(path)

    found = list(entries(path))
    assert [entry.seq for entry in found] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in found] == [START, *(entry.hash for entry in found[:-1])]
    assert len(lines) == 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    verdict = verify(path)
    assert (verdict.good, verdict.entries, verdict.head) == (True, 5, found[-1])
    assert AuditLog(path).head() == found[-1]


def test_the_chain_can_be_checked_by_anybody(tmp_path):
    """As the docstring says it, with nothing but JSON and SHA-256."""
    previous = "0" * 64
    for line in written(tmp_path / "a"):
        fields = json.loads(line)
        claimed = fields.pop("hash")
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        assert fields["previous"] == previous
        assert claimed == hashlib.sha256(canonical).hexdigest()
        previous = claimed


@settings(max_examples=40, deadline=None)
@given(facts=st.dictionaries(st.from_regex("[a-jl-rt-z]{1,5}", fullmatch=True), json_values, max_size=4))
def test_any_facts_are_kept(tmp_path_factory, facts):
    """Whatever JSON can say is written, verified and read back; what is too long is refused whole."""
    path = tmp_path_factory.mktemp("audit") / "a"
    try:
        AuditLog(path).add("test", **facts)
    except ValueError:
        assert len(json.dumps(facts)) > MAX_LINE_BYTES // 4
    else:
        assert verify(path).good
        assert [entry.facts for entry in entries(path)] == [facts]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_change_is_found(tmp_path_factory, data):
    """A changed byte, a line that is missing, doubled, moved or made up: the verdict is never good."""
    path = tmp_path_factory.mktemp("audit") / "a"
    lines = written(path)
    way = data.draw(st.sampled_from(["flip", "remove", "double", "swap", "insert", "cut"]))
    number = data.draw(st.integers(0, len(lines) - 2))
    if way == "flip":
        line = bytearray(lines[number])
        line[data.draw(st.integers(0, len(line) - 1))] ^= data.draw(st.integers(1, 255))
        lines[number] = bytes(line)
    elif way == "remove":
        del lines[number]
    elif way == "double":
        lines.insert(number, lines[number])
    elif way == "swap":
        lines[number], lines[number + 1] = lines[number + 1], lines[number]
    elif way == "insert":
        lines.insert(number, data.draw(st.sampled_from([b"\n", b"{}\n", b"\xff\n", lines[-1]])))
    else:
        lines[number] = lines[number][: data.draw(st.integers(0, len(lines[number]) - 1))]
    path.write_bytes(b"".join(lines))

    verdict = verify(path)

    assert not verdict.good
    assert verdict.faults[0].line <= number + 1 + (way == "double")


def test_a_forged_chain_is_found_by_a_noted_head(tmp_path):
    """Lines that go at the end break nothing: only a hash that was noted elsewhere tells."""
    path = tmp_path / "a"
    lines = written(path)
    head = AuditLog(path).head().hash
    assert verify(path, head).good
    path.write_bytes(b"".join(lines[:-1]))

    assert verify(path).good
    assert not verify(path, head).good
    assert verify(path, json.loads(lines[1])["hash"]).good


def test_a_torn_line_is_told_and_repaired(tmp_path):
    """What a crash left of an entry is a fault until the next one cuts it off, and says so."""
    path = tmp_path / "a"
    lines = written(path)
    torn = lines[-1][:-20]
    path.write_bytes(b"".join(lines[:-1]) + torn)
    assert [fault.line for fault in verify(path).faults] == [5]

    AuditLog(path).add("next")

    assert verify(path).good
    repaired, following = list(entries(path))[-2:]
    assert (repaired.seq, repaired.kind, following.kind) == (5, "log.repaired", "next")
    assert repaired.facts == {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}


def test_a_torn_first_line_is_repaired(tmp_path):
    """Also where nothing whole stands before it."""
    path = tmp_path / "a"
    path.write_bytes(b'{"fac')

    AuditLog(path).add("next")

    assert [entry.kind for entry in entries(path)] == ["log.repaired", "next"]
    assert verify(path).good


@pytest.mark.parametrize("end", [b"no entry\n", b"x" * 3 * MAX_LINE_BYTES])
def test_nothing_is_added_to_a_damaged_end(tmp_path, end):
    """The chain cannot be continued from what is no entry: the operator is told what to do."""
    path = tmp_path / "a"
    written(path)
    with path.open("ab") as file:
        file.write(end)

    with pytest.raises(StorageError, match="move it away"):
        AuditLog(path).add("next")
    assert not verify(path).good


def test_a_lock_that_stays_is_told(tmp_path, monkeypatch):
    """A program that holds the file is waited for only so long."""
    monkeypatch.setattr(audit_module, "LOCK_S", 0.0)
    written(tmp_path / "a")
    with (tmp_path / "a").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another program has locked it"):
            AuditLog(tmp_path / "a").add("next")

    AuditLog(tmp_path / "a").add("next")
    assert verify(tmp_path / "a").entries == 6


def test_a_full_disk_leaves_no_half_entry(tmp_path, monkeypatch):
    """What was written of an entry is taken back, and the error says to make room."""
    path = tmp_path / "a"
    before = b"".join(written(path))
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(audit_module.os, "write", lambda file, data: write(file, data[:10]))
        with pytest.raises(StorageError, match="the disk is full: make room"):
            AuditLog(path).add("next")

    assert path.read_bytes() == before


def test_what_cannot_be_read_is_told(tmp_path):
    """A file that is missing, or a folder, gives one sentence."""
    with pytest.raises(StorageError, match="No such file"):
        verify(tmp_path / "none")
    with pytest.raises(StorageError, match="No such file"):
        list(entries(tmp_path / "none"))
    with pytest.raises(StorageError, match="directory"):
        AuditLog(tmp_path).add("next")
    assert AuditLog(tmp_path / "none").head() is None


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_what_killed_writers_added_is_in_an_unbroken_chain(tmp_path):
    """SIGKILL of two processes at random points: no added entry is lost, and torn lines are repaired."""
    seed = random.randrange(2**32)
    command = [sys.executable, ROOT / "tests/storage/auditing.py", tmp_path / "a", ROUNDS, seed]

    run = subprocess.run([str(it) for it in command], capture_output=True, text=True, cwd=ROOT, check=False)

    assert run.returncode == 0, f"seed {seed}:\n{run.stderr}"
    found = json.loads(run.stdout)
    assert (found["lost"], found["faults"]) == ([], []), f"seed {seed}"
    assert found["repaired"] >= found["torn"], f"seed {seed}"
    assert found["added"] >= ROUNDS

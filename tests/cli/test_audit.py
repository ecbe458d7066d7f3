import json

import pytest
import yaml

from fac_stream.history.numbers import Hashes
from fac_stream.storage.audit import AuditLog


@pytest.fixture
def config(tmp_path):
    """A configuration whose audit log has five entries."""
    log = AuditLog(tmp_path / "audit.jsonl")
    hashes = Hashes(tmp_path / "history.key")
    for number in range(4):
        log.add("alert.marked", alert=f"a{number}", call=hashes.call(f"call-{number % 2}"))
    log.add("daemon.stopped")
    path = tmp_path / "c.yaml"
    files = {"database": str(tmp_path / "history.db"), "audit": str(tmp_path / "audit.jsonl")}
    path.write_text(yaml.safe_dump({"history": files}))
    return path


def test_a_good_log_is_said_to_be(fac, config):
    """With its head, and what that head is for."""
    head = json.loads(fac("audit", "head", "--json", "--config", config).out)
    outcome = fac("audit", "verify", "--config", config, "--noted", head["hash"])

    assert (outcome.code, head["seq"]) == (0, 5)
    assert f"good, 5 entries; head {head['hash']}" in outcome.out
    assert fac("audit", "head", "--config", config).out.split() == ["5", head["time"], head["hash"]]


def test_a_log_that_was_changed_is_found_out(fac, config, tmp_path):
    """Exit code 1, with the line; also as JSON."""
    path = tmp_path / "audit.jsonl"
    path.write_text(path.read_text().replace('"a2"', '"a9"'))

    told = fac("audit", "verify", "--file", path)
    verdict = json.loads((asked := fac("audit", "verify", "--json", "--config", config)).out)

    assert (told.code, asked.code) == (1, 1)
    assert f"{path}:3: it was changed" in told.out
    assert (verdict["good"], verdict["faults"]) == (False, [{"line": 3, "what": "it was changed"}])


def test_a_tail_that_was_cut_off_is_found_by_what_was_noted(fac, config, tmp_path):
    """Without the hash nothing is wrong; with it the missing lines are told."""
    head = fac("audit", "head", "--config", config).out.split()[-1]
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    assert fac("audit", "verify", "--config", config).code == 0
    outcome = fac("audit", "verify", "--config", config, "--noted", head)
    assert (outcome.code, "lines are missing" in outcome.out) == (1, True)


def test_entries_are_listed(fac, config):
    """The latest, oldest first; by kind, and by a call that only the key knows."""
    latest = fac("audit", "list", "-n", "2", "--config", config).out.splitlines()
    assert [line.split()[2] for line in latest] == ["alert.marked", "daemon.stopped"]
    lines = fac("audit", "list", "--json", "--call", "call-1", "--config", config).out.splitlines()
    assert [json.loads(line)["facts"]["alert"] for line in lines] == ["a1", "a3"]
    assert len(fac("audit", "list", "--kind", "alert.marked", "--config", config).out.splitlines()) == 4


def test_an_entry_does_not_steer_the_terminal(fac, config, tmp_path):
    """Also one that somebody put there, with a hash that is right."""
    AuditLog(tmp_path / "audit.jsonl").add("\x1b[2Jgone", **{"\x1b[8m": 1})

    told = fac("audit", "list", "-n", "1", "--config", config).out

    assert "?[2Jgone" in told
    assert "\x1b" not in told


def test_asking_for_a_call_makes_no_key(fac, config, tmp_path):
    """A new key would find nothing, and might be one that the daemon cannot read."""
    (tmp_path / "history.key").unlink()

    outcome = fac("audit", "list", "--call", "call-1", "--config", config)

    assert (outcome.code, "history.key: the key of the hashed ids is missing" in outcome.err) == (1, True)
    assert not (tmp_path / "history.key").exists()


def test_a_log_that_is_none_is_told(fac, tmp_path):
    """Missing, or not wanted: one sentence."""
    (tmp_path / "c.yaml").write_text("history: {audit: null}\n")
    nowhere = fac("audit", "verify", "--config", tmp_path / "c.yaml")
    missing = fac("audit", "verify", "--file", tmp_path / "none")

    assert (nowhere.code, "no audit log is written" in nowhere.err) == (2, True)
    assert (missing.code, "No such file" in missing.err) == (1, True)

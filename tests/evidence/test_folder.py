import errno
import os
from datetime import timedelta

import pytest

from fac_stream.errors import StorageError
from fac_stream.evidence import folder as module
from fac_stream.evidence.folder import Folder
from tests.evidence.exhibits import NOW, sealed

DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path):
    """A folder that is not there yet."""
    return Folder(tmp_path / "state" / "evidence")


def fill(folder, *ages):
    """A file of 2 kB each, written so many days ago; their alerts."""
    for number, age in enumerate(ages):
        folder.write(f"alert_{number}", sealed(2000, alert_id=f"alert_{number}", written_at=NOW - age * DAY))


def names(folder):
    """Whose evidence is there."""
    return [entry.alert_id for entry in folder.entries()]


def test_a_file_is_private_and_whole(folder):
    """Mode 0600 in a folder of mode 0700, whatever the umask; nothing unfinished lies beside it."""
    before = os.umask(0)
    try:
        folder.write("alert_1", b"content")
    finally:
        os.umask(before)

    (path,) = folder.path.iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("alert_1.evidence", 0o600)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.read("alert_1") == b"content"


def test_looking_makes_nothing(folder):
    """Where no evidence was kept there is no folder, and none is made by sweeping or listing."""
    assert folder.entries() == []
    assert folder.sweep(14, 10**9, NOW) == []
    assert folder.remove_call("call-1") == []
    assert not folder.path.exists()
    with pytest.raises(StorageError, match="no evidence of alert_1"):
        folder.read("alert_1")


def test_what_is_too_old_goes(folder):
    """After keep_days, to the second; younger files stay."""
    fill(folder, 15, 14, 13.9, 0)

    removed = folder.sweep(14, 10**9, NOW)

    assert [(it.alert_id, it.why) for it in removed] == [("alert_0", "age"), ("alert_1", "age")]
    assert names(folder) == ["alert_2", "alert_3"]


def test_a_promise_is_kept_whatever_the_configuration_becomes(folder):
    """A longer time does not prolong what was promised for 14 days; a shorter one ends it sooner."""
    fill(folder, 15, 5)

    assert [it.alert_id for it in folder.sweep(100, 10**9, NOW)] == ["alert_0"]
    assert [it.alert_id for it in folder.sweep(4, 10**9, NOW)] == ["alert_1"]


@pytest.mark.parametrize("fits", [0, 1, 3])
def test_where_it_is_too_large_the_oldest_goes(folder, fits):
    """What is left is no larger than the bound, and is the latest."""
    fill(folder, 4, 3, 2, 1)
    size = folder.entries()[0].size

    removed = folder.sweep(14, size * fits + 1, NOW)

    assert {it.why for it in removed} == {"size"}
    assert names(folder) == [f"alert_{number}" for number in range(4 - fits, 4)]
    assert sum(entry.size for entry in folder.entries()) <= size * fits + 1


def test_damaged_files_age_too(folder):
    """A file whose header nobody can read goes by the time it was written."""
    folder.write("alert_0", b"damaged")
    long_ago = (NOW - 15 * DAY).timestamp()
    os.utime(folder.path / "alert_0.evidence", (long_ago, long_ago))

    assert [entry.header for entry in folder.entries()] == [None]
    assert [it.alert_id for it in folder.sweep(14, 10**9, NOW)] == ["alert_0"]


def test_what_a_crash_left_goes(folder):
    """Files that were never finished are removed; strangers' files are not touched."""
    fill(folder, 0)
    (folder.path / "alert_9.abcd.part").write_bytes(b"half")
    (folder.path / "README").write_text("mine")

    folder.sweep(14, 10**9, NOW)

    assert sorted(path.name for path in folder.path.iterdir()) == ["README", "alert_0.evidence"]


def test_a_call_goes_whole_and_alone(folder):
    """All evidence of its alerts, and of no other call's; damaged files hinder nobody."""
    for number, call_id in enumerate(["call-1", "call-2", "call-1", "call-10"]):
        folder.write(f"alert_{number}", sealed(alert_id=f"alert_{number}", call_id=call_id))
    folder.write("alert_4", b"damaged")

    assert sorted(folder.remove_call("call-1")) == ["alert_0", "alert_2"]
    assert sorted(names(folder)) == ["alert_1", "alert_3", "alert_4"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_leaves_nothing_behind(folder, monkeypatch, number):
    """Half a file is never seen; the message says what to do."""

    def refuse(path, content):
        path.write_bytes(content[: len(content) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "_write_private", refuse)
    with pytest.raises(StorageError) as caught:
        folder.write("alert_1", b"content")

    assert list(folder.path.iterdir()) == []
    full = number in {errno.ENOSPC, errno.EDQUOT}
    assert ("make room" in str(caught.value)) == full
    with pytest.raises(StorageError):
        folder.probe()


def test_a_probe_leaves_nothing(folder):
    """Finding out whether the folder can be written changes nothing but that there is one."""
    folder.probe()
    assert list(folder.path.iterdir()) == []

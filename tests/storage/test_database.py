import os
import sqlite3
import stat
import threading

import pytest

from fac_stream.errors import StorageError
from fac_stream.storage import database as database_module
from fac_stream.storage.database import Database, state_file

SCHEMA = ("CREATE TABLE t (n INTEGER); CREATE INDEX i ON t (n)",)


def insert(number, *, size=1):
    """A transaction that writes some rows."""
    return lambda connection: connection.executemany("INSERT INTO t VALUES (?)", [(number,)] * size) and None


def rows(connection):
    """A transaction that reads them."""
    return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY rowid")]


def fail(connection):
    """A transaction that writes and then fails."""
    insert(666)(connection)
    raise KeyError("a bug")


@pytest.fixture
def open_database(tmp_path, monkeypatch):
    """Open databases that do not wait for locks; they are closed at the end."""
    monkeypatch.setattr(database_module, "BUSY_S", 0.0)
    opened = []

    def start(path=tmp_path / "state" / "a.db", migrations=SCHEMA):
        opened.append(Database(path, migrations))
        return opened[-1]

    yield start
    for it in opened:
        it.close()
        it._thread._thread.join(20)


@pytest.mark.parametrize("in_memory", [True, False])
async def test_what_was_written_is_read(open_database, in_memory):
    """A file and memory behave alike."""
    database = open_database(None) if in_memory else open_database()

    await database.run(insert(1))
    await database.run(insert(2))

    assert await database.run(rows) == [1, 2]


async def test_it_is_private_durable_and_survives(open_database, tmp_path):
    """The file and its folder are their owner's, commits wait for the disk, and a new process finds them."""
    database = open_database()
    await database.run(insert(1))
    path = database.path

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(it.stat().st_mode) for it in path.parent.iterdir()} == {0o600}
    pragmas = await database.run(
        lambda c: [c.execute(f"PRAGMA {p}").fetchone()[0] for p in ("journal_mode", "synchronous")]
    )
    assert pragmas == ["wal", 2]
    database.close()
    database._thread._thread.join(20)

    assert await open_database().run(rows) == [1]


async def test_a_failed_transaction_leaves_nothing(open_database):
    """A bug in the work reaches its caller, and half of the work reaches nobody."""
    database = open_database()

    with pytest.raises(KeyError):
        await database.run(fail)

    assert await database.run(rows) == []


async def test_versions_follow_one_another(open_database):
    """An older file is brought up to date and keeps its rows; a newer one is refused and left alone."""
    first = open_database()
    await first.run(insert(1))
    first.close()
    first._thread._thread.join(20)
    second = open_database(first.path, (*SCHEMA, "ALTER TABLE t ADD COLUMN m TEXT"))
    assert await second.run(lambda c: c.execute("SELECT n, m FROM t").fetchall()) == [(1, None)]
    second.close()
    second._thread._thread.join(20)

    with pytest.raises(StorageError, match="newer version"):
        await open_database(first.path).run(rows)


async def test_a_second_daemon_is_kept_out_until_the_first_ends(open_database):
    """Two daemons never deliver from one file; the second takes over when the first lets go."""
    first, second = open_database(), open_database()
    await first.run(insert(1))

    with pytest.raises(StorageError, match="another daemon uses it"):
        await second.run(insert(2))
    first.close()
    first._thread._thread.join(20)

    await second.run(insert(3))
    assert await second.run(rows) == [1, 3]


async def test_a_full_disk_is_told_and_got_over(open_database):
    """Nothing of the transaction is kept, the error says to make room, and with room it goes on."""
    database = open_database()
    await database.run(insert(1))
    pages = await database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await database.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}") and None)

    with pytest.raises(StorageError, match="the disk is full: make room"):
        await database.run(insert(2, size=10_000))
    await database.run(lambda c: c.execute("PRAGMA max_page_count = 100000") and None)

    await database.run(insert(3))
    assert await database.run(rows) == [1, 3]


async def test_a_lock_of_another_program_is_told_and_got_over(open_database):
    """While another program writes, the transaction is refused; then it is taken."""
    database = open_database()
    await database.run(insert(1))
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageError, match="another program has locked it"):
        await database.run(insert(2))
    other.close()

    await database.run(insert(3))
    assert await database.run(rows) == [1, 3]


async def test_a_damaged_file_is_told_kept_and_replaced_once_it_is_moved(open_database, tmp_path):
    """What is no database is not overwritten; after the operator moved it away, a new one is made."""
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database at all" * 100)
    database = open_database(path)

    with pytest.raises(StorageError, match="move it away"):
        await database.run(insert(1))
    assert path.read_bytes().startswith(b"not a database")
    path.rename(tmp_path / "damaged.db")

    await database.run(insert(2))
    assert await database.run(rows) == [2]


async def test_a_file_that_vanished_is_made_anew(open_database):
    """Rows are never written into a file that nobody can find again."""
    database = open_database()
    await database.run(insert(1))
    for it in database.path.parent.iterdir():
        it.unlink()

    await database.run(insert(2))

    assert await database.run(rows) == [2]
    assert database.path.is_file()
    assert database.opened == 2


async def test_a_folder_that_cannot_be_made_is_told(open_database, tmp_path):
    """The path is named."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"file/a\.db: "):
        await open_database(tmp_path / "file" / "a.db").run(rows)


async def test_a_disk_that_does_not_answer_is_not_waited_for_without_end(open_database, monkeypatch):
    """Transactions that wait are bounded; the one too many is refused at once."""
    monkeypatch.setattr(database_module, "MAX_WAITING", 1)
    database, release = open_database(), threading.Event()
    database._thread.submit(release.wait, 30)
    assert database._places.acquire(blocking=False)

    with pytest.raises(StorageError, match="does not answer"):
        await database.run(rows)

    release.set()
    database._places.release()
    assert await database.run(rows) == []


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"STATE_DIRECTORY": "/var/lib/fac:/x", "XDG_STATE_HOME": "/s"}, "/var/lib/fac/a.db"),
        ({"XDG_STATE_HOME": "/s"}, "/s/fac-stream/a.db"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/fac-stream/a.db"),
        ({"HOME": "/h"}, "/h/.local/state/fac-stream/a.db"),
    ],
)
def test_the_place_is_the_services_or_the_users(monkeypatch, variables, place):
    """The folder of systemd wins over the XDG folder, and that over the home."""
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert os.fspath(state_file("a.db")) == place

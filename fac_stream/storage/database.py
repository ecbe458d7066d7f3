"""One SQLite file, owned by one thread.

Only that thread touches the connection; everybody else hands it functions, each of which is one transaction.
The file is in WAL mode with ``synchronous=FULL``: what was committed survives the process and the power. A
second daemon is kept out by a lock beside the file; readers and short writers, such as ``fac alerts``, are
not.

A fault (full disk, locked, damaged, removed) fails that transaction only. The next one tries again, with a
new connection where that may help, so that the operator's remedy needs no restart.
"""

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import StorageError

BUSY_S = 2.0
"""How long a lock of another program is waited for."""
MAX_WAITING = 64
"""Transactions that may wait for the thread."""
MAX_QUESTIONS = 8
"""The same of those that only read."""
JOURNAL_BYTES = 16 * 1024 * 1024

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_BUSY: "another program has locked it: end that program",
    sqlite3.SQLITE_LOCKED: "another program has locked it: end that program",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it away, and a new one is made",
    sqlite3.SQLITE_NOTADB: "it is no database, or damaged: move it away, and a new one is made",
    sqlite3.SQLITE_READONLY: "it cannot be written: check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder can be written",
    sqlite3.SQLITE_IOERR: "reading or writing failed: check the disk",
}


class Database:
    """A file, its schema and its thread.

    Args:
        path: the file, made with mode 0600 where there is none; None keeps everything in memory.
        migrations: one string of statements for each version of the schema, from the first; ``user_version``
            of the file says how many of them it has seen. No statement holds a semicolon.
        erases: what is deleted is overwritten, and the file shrinks; see also ``tidy``.
    """

    def __init__(self, path: Path | None, migrations: Sequence[str], *, erases: bool = False) -> None:
        self.path = path
        self.opened = 0
        """How many connections were made so far."""
        self._migrations = migrations
        self._erases = erases
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._lock: int | None = None
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._thread = DaemonThread("database")

    async def run(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction of its own; what it changed is on disk when this returns.

        Cancelling takes back nothing: the transaction happens all the same.

        Raises:
            StorageError: nothing was changed; the message says why and what to do.
        """
        return await self._submit(self._transact, work)

    async def tidy(self) -> bool:
        """Bring all into the file itself and empty the journal, so that what was deleted stands in neither.

        Returns:
            False where a reader still needs the journal: try again later.

        Raises:
            StorageError: as ``run``.
        """
        return await self._submit(self._checkpoint)

    def close(self) -> None:
        """Close the file after what was handed over, without waiting for it."""
        self._thread.submit(self._disconnect)
        self._thread.shutdown()

    async def _submit(self, call: Callable[..., T], *arguments: Any) -> T:
        return await _submitted(self._thread, self._places, partial(self._guarded, call, *arguments))

    def _transact(self, work: Work[T]) -> T:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some faults have rolled back already
                connection.execute("ROLLBACK")
            raise
        return result

    def _checkpoint(self) -> bool:
        return emptied(self._connected())

    def _guarded(self, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return call(*arguments)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            if _code(error) in DAMAGED | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}:
                self._disconnect()
            raise StorageError(f"{self.path}: {REMEDIES.get(_code(error), str(error))}") from error
        except OSError as error:
            self._disconnect()
            raise StorageError(f"{self.path}: {error.strerror or error}") from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection and self.path and _identity(self.path) != self._file:
            self._disconnect()  # it was moved away or replaced: writing on would go nowhere
        if self._connection:
            return self._connection
        if self.path:
            self._lock = _locked(self.path)
            # Not once it is connected: closing any other descriptor of the file drops SQLite's own locks.
            _make_private(self.path)
            self._file = _identity(self.path)
        self._connection = sqlite3.connect(
            self.path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._connection.text_factory = _text
        try:
            _prepare(self._connection, self._migrations, erases=self._erases)
        except BaseException:
            self._disconnect()
            raise
        self.opened += 1
        return self._connection

    def _disconnect(self) -> None:
        if self._connection:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None


class Reader:
    """Asks a file on a thread and connections of its own: a long question keeps no write waiting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places = threading.BoundedSemaphore(MAX_QUESTIONS)
        self._thread = DaemonThread("reader")

    async def run(self, question: Work[T]) -> T:
        """What was committed says; the question changes nothing.

        Raises:
            StorageError: the file does not answer; the message says why and what to do.
        """
        return await _submitted(self._thread, self._places, partial(self._answer, question))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    def _answer(self, question: Work[T]) -> T:
        try:
            # A connection each: a file that was moved away or replaced is not asked.
            with closing(opened_beside(self._path)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                return question(connection)
        except sqlite3.DatabaseError as error:
            raise StorageError(f"{self._path}: {REMEDIES.get(_code(error), str(error))}") from error
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from error


async def _submitted(thread: DaemonThread, places: threading.BoundedSemaphore, call: Callable[[], T]) -> T:
    if not places.acquire(blocking=False):
        raise StorageError("the disk does not answer")
    future = thread.submit(call)
    future.add_done_callback(lambda _: places.release())
    return await asyncio.shield(asyncio.wrap_future(future))


def state_file(name: str) -> Path:
    """Where a file of this name belongs: the service's state folder, or the user's, or the system's."""
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.split(":")[0]) / name
    state = os.environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state) / "fac-stream" / name
    try:
        return Path.home() / ".local" / "state" / "fac-stream" / name
    except RuntimeError:  # a user without a home
        return Path("/var/lib/fac-stream") / name


def opened_beside(path: Path) -> sqlite3.Connection:
    """A connection to a file that a daemon may have open; the caller closes it, and keeps transactions short.

    Raises:
        StorageError: there is no such file, or it cannot be used.
    """
    if not path.is_file():
        raise StorageError(f"{path}: there is no such file; has a daemon run with it?")
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    connection.text_factory = _text
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StorageError(f"{path}: {REMEDIES.get(_code(error), str(error))}") from error
    return connection


def emptied(connection: sqlite3.Connection) -> bool:
    """Bring the journal into the file and empty it; False where a reader still needs it."""
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _prepare(connection: sqlite3.Connection, migrations: Sequence[str], *, erases: bool) -> None:
    if erases:
        connection.execute("PRAGMA auto_vacuum = FULL")  # of a new file only
        connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise sqlite3.OperationalError(
            "a newer version of FAC Stream has written it: install that, or move it away"
        )
    for migration in migrations[version:]:
        for statement in migration.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute("COMMIT")


def _text(stored: bytes) -> str:
    """A damaged text is one text that nobody can read, rather than a file."""
    return stored.decode(errors="replace")


def _make_private(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    """A descriptor that holds the lock beside the file; the kernel frees it however the process ends."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise OSError(0, "another daemon uses it: give each its own") from None
    return descriptor


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _code(error: sqlite3.Error) -> int:
    """The primary result code; the upper bytes only say more of the same."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF

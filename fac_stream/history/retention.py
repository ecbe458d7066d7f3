"""How long the history is kept: calls that are too old go, and the oldest where the file is too large."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import partial

import structlog

from fac_stream.config_storage import History
from fac_stream.errors import StorageError
from fac_stream.history.recorder import Recorder
from fac_stream.storage.clock import Clock

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
RETRY_S = 60.0
CALLS_A_TURN = 20
"""Calls that one transaction deletes, so that what is to be written need not wait long."""


class Retention:
    """The rules of one configuration.

    Args:
        recorder: of the history.
        settings: how long, and how large.
        on_deleted: called with how many calls went for age and how many for size, after a run that deleted
            some, and after the first one.
    """

    def __init__(self, recorder: Recorder, settings: History, on_deleted: Callable[[int, int], None]) -> None:
        self._recorder = recorder
        self._settings = settings
        self._on_deleted = on_deleted
        self._first = True
        self._clock = Clock()

    async def run(self) -> None:
        """Keep to the rules for ever."""
        while True:
            try:
                await self.retain()
            except StorageError as error:
                log.warning("old calls could not be deleted", why=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(EVERY_S)

    async def retain(self) -> None:
        """Delete what is too old or too much.

        Raises:
            StorageError: the disk refuses; what was deleted so far is.
        """
        newest = await self._recorder.ask(partial(_newest, int(self._clock.begun_at * 1e6)))
        believed = self._clock.is_believed(newest)
        too_old = await self._all(_delete_old, self._oldest()) if believed else 0
        too_much = await self._all(_delete_excess, self._settings.max_mb * 1_000_000)
        if too_old or too_much:
            log.info("old calls were deleted", for_age=too_old, for_size=too_much)
            self._recorder.tidy()
        if too_old or too_much or self._first:
            self._on_deleted(too_old, too_much)
        self._first = False

    async def _all(self, delete: Callable[[int, sqlite3.Connection], int], limit: int) -> int:
        total = 0
        while deleted := await self._recorder.ask(partial(delete, limit)):
            total += deleted
        return total

    def _oldest(self) -> int:
        return int((time.time() - self._settings.keep_days * 86_400) * 1e6)


def _newest(before: int, connection: sqlite3.Connection) -> float | None:
    """When the newest call before that began, Unix seconds."""
    (newest,) = connection.execute("SELECT max(id) FROM call WHERE id < ?", (before,)).fetchone()
    return None if newest is None else newest / 1e6


def _delete_old(oldest: int, connection: sqlite3.Connection) -> int:
    connection.execute("DELETE FROM alert WHERE call IS NULL AND raised_at < ?", (oldest / 1e6,))
    return _delete(connection, "id < ? AND end_reason IS NOT NULL", oldest)


def _delete_excess(most_bytes: int, connection: sqlite3.Connection) -> int:
    # Free pages count for nothing: a file that was restored by other means may be one that never shrinks.
    (pages,) = connection.execute(
        "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
    ).fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if pages * page_bytes <= most_bytes:
        return 0
    return _delete(connection, "end_reason IS NOT NULL")


def _delete(connection: sqlite3.Connection, where: str, *values: int) -> int:
    return connection.execute(
        f"DELETE FROM call WHERE id IN (SELECT id FROM call WHERE {where} ORDER BY id LIMIT ?)",  # noqa: S608 - no part comes from outside
        (*values, CALLS_A_TURN),
    ).rowcount

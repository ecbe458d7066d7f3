"""What is kept of calls beyond the process: the history and the audit log, wired to the bus."""

import asyncio
import hashlib
import json
import platform

from fac_stream import __version__
from fac_stream.bus import Bus
from fac_stream.config import Config
from fac_stream.history.auditor import Auditor
from fac_stream.history.numbers import Hashes
from fac_stream.history.recorder import Recorder
from fac_stream.history.retention import Retention
from fac_stream.history.schema import MIGRATIONS
from fac_stream.storage.audit import AuditLog
from fac_stream.storage.database import Database
from fac_stream.storage.places import audit_file, history_file, key_file


class Records:
    """Either part may be missing: the configuration says so.

    Args:
        bus: whose events are kept.
        config: the whole configuration: its hash stands in the audit log.
        model: name and short hash of the bundle that scores.
    """

    def __init__(self, bus: Bus, config: Config, model: str) -> None:
        settings = config.history
        hashes = Hashes(key_file(settings))
        self.recorder: Recorder | None = None
        self._auditor: Auditor | None = None
        self._retention: Retention | None = None
        if audit := audit_file(settings):
            self._auditor = Auditor(bus, AuditLog(audit), hashes)
            self._auditor.begin(
                version=__version__, python=platform.python_version(), model=model, config=_hash(config)
            )
        if path := history_file(settings):
            database = Database(path, MIGRATIONS, erases=True)
            self.recorder = Recorder(bus, database, settings, hashes, model)
            self._retention = Retention(self.recorder, settings, self._on_deleted)

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words."""
        return [part.problem for part in self._parts if part.problem]

    @property
    def waiting(self) -> int:
        """Entries that wait for the disk."""
        return sum(part.waiting for part in self._parts)

    @property
    def lost(self) -> int:
        """Entries that were not written and never will be."""
        return sum(part.lost for part in self._parts)

    async def run(self) -> None:
        """Write for ever."""
        async with asyncio.TaskGroup() as group:
            for part in (*self._parts, self._retention):
                if part:
                    group.create_task(part.run())

    async def drain(self) -> None:
        """Write what waits, and that the daemon ends as it should; returns where the disk refuses."""
        if self._auditor:
            self._auditor.add("daemon.stopped")
        for part in self._parts:
            await part.drain()

    def close(self) -> None:
        """Let the files go."""
        for part in self._parts:
            part.close()

    @property
    def _parts(self) -> list[Recorder | Auditor]:
        return [part for part in (self.recorder, self._auditor) if part]

    def _on_deleted(self, too_old: int, too_much: int) -> None:
        if self._auditor:
            self._auditor.add("history.retention", for_age=too_old, for_size=too_much)


def _hash(config: Config) -> str:
    """SHA-256 of the configuration in force, its secrets masked: the same again for the same settings."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

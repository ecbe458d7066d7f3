"""Where evidence lies: one file an alert, whole or not there, of mode 0600, of limited age and size.

Every function here blocks: the daemon calls them in a thread of their own.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fac_stream.errors import StorageError
from fac_stream.evidence.sealed import MAX_FILE_BYTES, MAX_HEADER_BYTES, Header, read_header
from fac_stream.storage.database import state_file

SUFFIX = ".evidence"
UNFINISHED = ".part"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file."""

    path: Path
    size: int
    written_at: datetime
    header: Header | None
    """None where it cannot be read: such a file is removed as old as any other."""

    @property
    def alert_id(self) -> str:
        """The alert that it is about."""
        return self.path.name.removesuffix(SUFFIX)


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that is gone, and why."""

    alert_id: str
    why: Literal["age", "size"]


class Folder:
    """All evidence of one daemon.

    Args:
        path: the folder; it is made with the first file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_file("evidence")

    def probe(self) -> None:
        """Find out whether the folder can be written; it is made where there is none.

        Raises:
            StorageError: it cannot; says why and what to do.
        """
        unfinished = self.path / f"probe{UNFINISHED}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            _write_private(unfinished, b"can this be written?")
            unfinished.unlink()
        except OSError as error:
            raise _fault(self.path, error) from error

    def write(self, alert_id: str, content: bytes) -> None:
        """Write a file, whole or not at all; on disk when this returns.

        Raises:
            StorageError: it was not written; says why and what to do.
        """
        unfinished = self.path / f"{alert_id}.{secrets.token_hex(4)}{UNFINISHED}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(unfinished, content)
            unfinished.rename(self.path / f"{alert_id}{SUFFIX}")
            _sync_folder(self.path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise _fault(self.path, error) from error

    def read(self, alert_id: str) -> bytes:
        """The file of an alert.

        Raises:
            StorageError: there is none, or it cannot be read.
        """
        path = self.path / f"{alert_id}{SUFFIX}"
        try:
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except FileNotFoundError:
            raise StorageError(
                f"no evidence of {alert_id} in {self.path}: none was kept, or it was removed; "
                "see: fac evidence list"
            ) from None
        except OSError as error:
            raise _fault(path, error) from error

    def entries(self) -> list[Entry]:
        """All files, oldest first.

        Raises:
            StorageError: the folder cannot be read.
        """
        try:
            found = [_entry(path) for path in self._files(SUFFIX)]
        except OSError as error:
            raise _fault(self.path, error) from error
        return sorted((it for it in found if it), key=lambda it: (it.written_at, it.path))

    def remove(self, alert_id: str) -> bool:
        """Remove the file of an alert; whether there was one.

        Raises:
            StorageError: it cannot be removed.
        """
        path = self.path / f"{alert_id}{SUFFIX}"
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _fault(path, error) from error
        return True

    def remove_call(self, call_id: str) -> list[str]:
        """Remove all evidence of a call; the alerts that it was about.

        Raises:
            StorageError: the folder cannot be read, or a file not removed.
        """
        alerts = [it.alert_id for it in self.entries() if it.header and it.header.call_id == call_id]
        return [alert for alert in alerts if self.remove(alert)]

    def sweep(self, keep_days: float, max_bytes: int, now: datetime | None = None) -> list[Removed]:
        """Remove what is too old, then the oldest while all are too large, and what a crash left unfinished.

        Raises:
            StorageError: the folder cannot be read, or a file not removed.
        """
        now = now or datetime.now(UTC)
        try:
            for path in self._files(UNFINISHED):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _fault(self.path, error) from error
        entries, removed = self.entries(), []
        total = sum(entry.size for entry in entries)
        for entry in entries:
            aged = now >= _expires(entry, keep_days * DAY_S)
            if not aged and total <= max_bytes:
                continue
            total -= entry.size
            if self.remove(entry.alert_id):
                removed.append(Removed(entry.alert_id, "age" if aged else "size"))
        return removed

    def _files(self, suffix: str) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from (path for path in self.path.iterdir() if path.name.endswith(suffix))


def _entry(path: Path) -> Entry | None:
    """None for a file that went away meanwhile."""
    try:
        with path.open("rb") as file:
            found, start = os.fstat(file.fileno()), file.read(MAX_HEADER_BYTES + 64)
    except FileNotFoundError:
        return None
    written_at = datetime.fromtimestamp(found.st_mtime, UTC)
    try:
        header = read_header(start)
    except StorageError:
        return Entry(path, found.st_size, written_at, None)
    return Entry(path, found.st_size, header.written_at, header)


def _expires(entry: Entry, keep_s: float) -> datetime:
    if entry.header:
        return entry.header.expires(keep_s)
    return datetime.fromtimestamp(entry.written_at.timestamp() + keep_s, UTC)


def _write_private(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(file)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _fault(path: Path, error: OSError) -> StorageError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageError(f"{path}: {'the disk is full: make room' if full else error.strerror or error}")

"""The audit log: a file that only grows, in which nothing can be changed unseen.

Each line is one entry as canonical JSON (RFC 8259, keys sorted, no spaces, ASCII)::

    {"facts":{…},"hash":"…","kind":"…","previous":"…","seq":7,"time":"2026-11-23T10:20:30.250000Z"}

``hash`` is the hexadecimal SHA-256 of the same line without ``hash``; ``previous`` is the hash of the line
before, so that a changed, missing, added or moved line breaks the chain. Lines missing at the end break none:
who wants to know of those notes the last hash, the head, in another place.

An entry is on disk when ``add`` returns. Any number of processes may add.
"""

import fcntl
import hashlib
import json
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from fac_stream.errors import StorageError

START = "0" * 64
"""What the first entry has for ``previous``."""
MAX_LINE_BYTES = 16 * 1024
LOCK_S = 2.0
"""How long another program that adds is waited for."""
MAX_FAULTS = 100
"""Faults that a verification tells."""


class Entry(BaseModel):
    """One line."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    facts: dict[str, JsonValue]
    hash: str
    kind: str
    previous: str
    seq: int
    """Counts from 1."""
    time: str
    """UTC, RFC 3339."""

    @property
    def line(self) -> bytes:
        """As it stands in the file."""
        return _canonical(self.model_dump())

    @property
    def is_whole(self) -> bool:
        """Whether ``hash`` is the hash of the rest."""
        return self.hash == _hash(self.model_dump(exclude={"hash"}))


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the file."""

    line: int
    """Counts from 1."""
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    entries: int
    head: Entry | None
    """The last entry of the chain as far as it holds; None where there is none."""
    faults: list[Fault]
    noted: bool
    """Whether the hash that was noted elsewhere is one of the chain; true where none was asked for."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.noted and not self.faults


class AuditLog:
    """The log in one file, which is made with mode 0600 where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, kind: str, **facts: JsonValue) -> Entry:
        """Append an entry; on disk when this returns. Blocks: for the daemon there is ``Auditor``.

        Raises:
            StorageError: nothing was added; the message says why and what to do.
            ValueError: the facts are longer than ``MAX_LINE_BYTES``.
        """
        return self.append(kind, facts, datetime.now(UTC))

    def append(self, kind: str, facts: dict[str, JsonValue], at: datetime) -> Entry:
        """``add``, of something that happened at ``at``."""
        try:
            with self._locked() as file:
                last = self._last(file)
                if torn := self._cut(file):
                    last = self._write(file, last, "log.repaired", torn, datetime.now(UTC))
                return self._write(file, last, kind, facts, at)
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from error

    def head(self) -> Entry | None:
        """The last entry; None where there is none yet.

        Raises:
            StorageError: the file cannot be read, or its end is damaged.
        """
        try:
            with self.path.open("rb") as file:
                return self._last(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            patience = time.monotonic() + LOCK_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > patience:
                        raise OSError(0, "another program has locked it: end that program") from None
                    time.sleep(0.01)
            yield file
        finally:
            os.close(file)

    def _last(self, file: int) -> Entry | None:
        """The last whole line."""
        tail, begins = _tail(file)
        lines = tail[: tail.rfind(b"\n") + 1].splitlines()
        if not lines:
            if begins:
                raise StorageError(f"{self.path}: its end is damaged: {REMEDY}")
            return None
        entry = _read(lines[-1])
        if entry is None or not entry.is_whole:
            raise StorageError(f"{self.path}: its last entry is damaged: {REMEDY}")
        return entry

    def _cut(self, file: int) -> dict[str, JsonValue] | None:
        """Remove what a crash left of an entry that was being written; says what it was."""
        tail, begins = _tail(file)
        whole = tail.rfind(b"\n") + 1
        if whole == len(tail):
            return None
        os.ftruncate(file, begins + whole)
        return {"bytes": len(tail) - whole, "sha256": hashlib.sha256(tail[whole:]).hexdigest()}

    def _write(
        self, file: int, last: Entry | None, kind: str, facts: dict[str, JsonValue], at: datetime
    ) -> Entry:
        fields: dict[str, Any] = {
            "facts": facts,
            "kind": kind,
            "previous": last.hash if last else START,
            "seq": last.seq + 1 if last else 1,
            "time": at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        entry = Entry(**fields, hash=_hash(fields))
        line = entry.line + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"an entry of the audit log has at most {MAX_LINE_BYTES} bytes")
        size = os.fstat(file).st_size
        try:
            _write_all(file, line)
        except OSError:
            os.ftruncate(file, size)  # nothing of it was promised
            raise
        return entry


REMEDY = "see fac audit verify; move it away, and a new one is begun"


def verify(path: Path, noted: str | None = None) -> Verdict:
    """Read the whole chain.

    Args:
        path: the file.
        noted: the hash of an entry, noted in another place; an entry must have it.

    Raises:
        StorageError: the file cannot be read.
    """
    faults: list[Fault] = []
    number, last, found = 0, None, noted is None
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                entry = _read(line.removesuffix(b"\n"))
                if what := _fault(line, entry, last):
                    faults.append(Fault(number, what))
                    if len(faults) >= MAX_FAULTS:
                        break
                last = entry or last
                found |= entry is not None and entry.hash == noted
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
    return Verdict(number, last, faults, found)


def entries(path: Path) -> Iterator[Entry]:
    """The entries that can be read, in order.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                entry = _read(line.removesuffix(b"\n"))
                if entry:
                    yield entry
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def person() -> str:
    """Who runs this process: whom the system knows; the environment's word for it anybody may choose."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name[:64]
    except KeyError:  # a container's user has no name
        return str(os.getuid())


def _fault(line: bytes, entry: Entry | None, last: Entry | None) -> str | None:
    if not line.endswith(b"\n"):
        return "it does not end: a crash tore it, or somebody cut it; the next entry repairs the former"
    if entry is None:
        return "it is no entry"
    if not entry.is_whole or entry.line != line[:-1]:
        return "it was changed"
    if entry.previous != (last.hash if last else START) or entry.seq != (last.seq + 1 if last else 1):
        return "it does not follow the line before: lines were removed, added or moved"
    return None


def _write_all(file: int, line: bytes) -> None:
    if os.write(file, line) < len(line):
        raise OSError(0, "the disk is full: make room")
    os.fsync(file)


def _tail(file: int) -> tuple[bytes, int]:
    """The end of the file, long enough for a whole entry and a torn one, and where in the file it begins."""
    size = os.fstat(file).st_size
    begins = max(0, size - 2 * MAX_LINE_BYTES)
    return os.pread(file, size - begins, begins), begins


def _read(line: bytes) -> Entry | None:
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        return None


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields)).hexdigest()

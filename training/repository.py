"""Files of one commit of a git repository, read without a work tree: nothing in it is ever run.

Only blobs are read, by ``git ls-tree`` and ``git cat-file``: no checkout, so no hooks, filters, links or
submodules. Git is called with a list of arguments, a deadline and a limit on what it may write, ignores the
user's settings and asks no questions. It fetches by HTTPS alone, and nothing while it reads a clone: the
clone's own settings could name programs for that.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fac_stream.errors import FacError

FETCH_S = 3_600
READ_S = 120
"""Deadlines in seconds."""
MAX_FETCH_BYTES = 20_000_000_000
MAX_FILE_BYTES = 500_000_000
MAX_LISTING_BYTES = 100_000_000
"""About a million paths. A small commit may list without end: trees can stand in trees many times."""
MAX_PATH = 1_000
"""Characters."""
_LIMITED = 'ulimit -f "$1" && shift && exec git "$@"'
"""In blocks of 512 bytes of each file that is written, a download too."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._][A-Za-z0-9._-]{0,99}")
_HTTPS = re.compile(r"https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~%+-]+)+/?")
_SETTINGS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0")


class RepositoryError(FacError):
    """A repository or a file in it cannot be had."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the commit."""

    path: str
    key: str
    size: int
    """Bytes; 0 where an incomplete clone lacks it."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a repository on this disk."""

    folder: Path
    """The git directory."""
    commit: str
    """40 hexadecimal digits."""

    def files(self) -> list[Blob]:
        """All regular files, by path; links, submodules and unprintable paths are left out.

        Raises:
            RepositoryError: git cannot read the commit, or it has too many files.
        """
        read = ("-C", str(self.folder), "ls-tree", "-r", "-l", "-z", "--full-tree", self.commit)
        listing = _git(*read, most=MAX_LISTING_BYTES)
        return sorted(_blobs(listing.decode("utf-8", "replace")), key=lambda blob: blob.path)

    def read(self, blob: Blob) -> bytes:
        """A file's content.

        Raises:
            RepositoryError: it is too large, or git cannot read it.
        """
        if blob.size > MAX_FILE_BYTES:
            raise RepositoryError(f"{blob.path}: {blob.size} bytes; at most {MAX_FILE_BYTES} are read")
        return _git("-C", str(self.folder), "cat-file", "blob", blob.key, most=MAX_FILE_BYTES)


def obtain(repository: str, commit: str, clones: Path | None, fetched: Path) -> Commit:
    """A commit, from a local clone where there is one, else fetched alone (depth 1).

    Args:
        repository: ``owner/name`` on GitHub, an https URL, or the absolute path of a clone.
        commit: 40 hexadecimal digits.
        clones: folder of clones, each at ``owner/name`` or ``owner/name.git``; never written to.
        fetched: folder for what has to be fetched.

    Raises:
        RepositoryError: the name is none of these, or git cannot get the commit.
    """
    url = address(repository)
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise RepositoryError(f"{repository}: commit {commit!r} is not 40 hexadecimal digits")
    name = "/".join(url.rstrip("/").removesuffix(".git").split("/")[-2:])
    places = [Path(url)] if url.startswith("/") else []
    if clones is not None:
        places += [clones / name, clones / f"{name}.git"]
    for place in places:
        if place.is_dir():
            return _local(place, commit)
    if not url.startswith("https://"):
        raise RepositoryError(f"{repository}: no such folder")
    folder = fetched / f"{name}.git"
    folder.mkdir(parents=True, exist_ok=True)
    _git("-C", str(folder), "init", "--quiet", "--bare", "--template=")
    if not _holds(folder, commit):
        fetch = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, commit)
        _git("-C", str(folder), *fetch, most=MAX_FETCH_BYTES, deadline_s=FETCH_S, protocols="https")
    return _local(folder, commit)


def address(repository: str) -> str:
    """Where it is: an https URL or an absolute path.

    Raises:
        RepositoryError: it is neither of these, nor ``owner/name``.
    """
    if repository.startswith("/") and "\0" not in repository:
        return repository
    if not {".", ".."} & set(repository.split("/")):
        if _NAME.fullmatch(repository):
            return f"https://github.com/{repository}"
        if _HTTPS.fullmatch(repository):
            return repository
    raise RepositoryError(
        f"{repository!r}: give owner/name, an https URL without user name, or the absolute path of a clone"
    )


def _local(folder: Path, commit: str) -> Commit:
    if not _holds(folder, commit):
        raise RepositoryError(f"{folder} has no commit {commit}; fetch it, or remove the folder")
    return Commit(folder, commit)


def _holds(folder: Path, commit: str) -> bool:
    try:
        _git("-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}")
    except RepositoryError:
        return False
    return True


def _git(*arguments: str, most: int = 1_000_000, deadline_s: float = READ_S, protocols: str = "") -> bytes:
    """What git says, at most so many bytes; without ``protocols`` it reaches for no other repository."""
    surroundings = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": protocols,
        "LC_ALL": "C",
    }
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "GIT_SSL_CAINFO"):
        if name in os.environ:
            surroundings[name] = os.environ[name]
    limited = ("sh", "-c", _LIMITED, "sh", str(-(-most // 512)))
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        try:
            done = subprocess.run(  # noqa: S603 - a constant script, and arguments that are checked above
                [*limited, *_SETTINGS, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=complaint,
                check=False,
                timeout=deadline_s,
                env=surroundings,
            )
        except subprocess.TimeoutExpired:
            raise RepositoryError(f"git gave no answer within {deadline_s:.0f} s") from None
        if done.returncode == -signal.SIGXFSZ:
            raise RepositoryError(f"git would write more than {most} bytes")
        for file in (answer, complaint):
            file.seek(0)
        if done.returncode:
            said = complaint.read(100_000).decode("utf-8", "replace").strip().splitlines()
            raise RepositoryError(f"git: {said[-1] if said else f'exit code {done.returncode}'}")
        return answer.read()


def _blobs(listing: str) -> Iterator[Blob]:
    for entry in filter(None, listing.split("\0")):
        facts, _, path = entry.partition("\t")
        mode, _, key, size = facts.split()
        if mode in ("100644", "100755") and len(path) <= MAX_PATH and path.isprintable():
            yield Blob(path, key, int(size) if size.isdigit() else 0)

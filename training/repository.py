"""Files of one commit of a git repository, read without a work tree: nothing in it is ever run.

Only blobs are read, by ``git ls-tree`` and ``git cat-file``: no checkout, so no hooks, filters, links or
submodules. Git is called with a list of arguments and a deadline, ignores the user's settings, asks no
questions and speaks HTTPS or reads a local folder, nothing else.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fac_stream.errors import FacError

FETCH_S = 3_600
READ_S = 120
"""Deadlines in seconds."""
MAX_FILE_BYTES = 500_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._][A-Za-z0-9._-]{0,99}")
_HTTPS = re.compile(r"https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~%+-]+)+/?")
_PREFIX = (
    *("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0"),
    *("-c", "protocol.allow=never", "-c", "protocol.https.allow=always", "-c", "protocol.file.allow=always"),
)


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
        """All regular files, by path; links and submodules are left out.

        Raises:
            RepositoryError: git cannot read the commit.
        """
        listing = _git("-C", str(self.folder), "ls-tree", "-r", "-l", "-z", "--full-tree", self.commit)
        return sorted(_blobs(listing.decode("utf-8", "replace")), key=lambda blob: blob.path)

    def read(self, blob: Blob) -> bytes:
        """A file's content.

        Raises:
            RepositoryError: it is too large, or git cannot read it.
        """
        if blob.size > MAX_FILE_BYTES:
            raise RepositoryError(f"{blob.path}: {blob.size} bytes; at most {MAX_FILE_BYTES} are read")
        return _git("-C", str(self.folder), "cat-file", "blob", blob.key)


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
        _git("-C", str(folder), *fetch, deadline_s=FETCH_S)
    return _local(folder, commit)


def address(repository: str) -> str:
    """Where it is: an https URL or an absolute path.

    Raises:
        RepositoryError: it is neither of these, nor ``owner/name``.
    """
    if _NAME.fullmatch(repository):
        return f"https://github.com/{repository}"
    if _HTTPS.fullmatch(repository) or (repository.startswith("/") and "\0" not in repository):
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


def _git(*arguments: str, deadline_s: float = READ_S) -> bytes:
    surroundings = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",
    }
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "GIT_SSL_CAINFO"):
        if name in os.environ:
            surroundings[name] = os.environ[name]
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments, checked above, and no shell
            [*_PREFIX, *arguments],
            capture_output=True,
            check=False,
            timeout=deadline_s,
            env=surroundings,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise RepositoryError("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise RepositoryError(f"git gave no answer within {deadline_s:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RepositoryError(f"git: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def _blobs(listing: str) -> Iterator[Blob]:
    for entry in filter(None, listing.split("\0")):
        facts, _, path = entry.partition("\t")
        mode, _, key, size = facts.split()
        if mode in ("100644", "100755"):
            yield Blob(path, key, int(size) if size.isdigit() else 0)

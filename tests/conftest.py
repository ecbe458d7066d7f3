"""What every test may rely on: no network but loopback, no settings of the developer's, perhaps a corpus."""

import csv
import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("FAC_CORPUS") or ROOT.parent / "shared" / "corpus")

PROGRAMS = {
    "browser": ("chromium",),
    "audio_device": ("pulseaudio", "pactl"),
}
"""Programs that the tests of a marker start."""

CorpusClips = Callable[..., list[Path]]


def pytest_configure(config):
    """Register the marker that names a test's programs itself."""
    config.addinivalue_line("markers", "programs(*names): starts these; skipped where one is missing")


def pytest_collection_modifyitems(items):
    """Whoever asks for the corpus carries its marker, so that ``-m 'not corpus'`` leaves nobody out."""
    for item in items:
        if {"corpus", "corpus_clips"} & set(item.fixturenames):
            item.add_marker("corpus")


def pytest_runtest_setup(item):
    """Skip a test whose programs are missing; where nobody would notice (CI), fail it."""
    named = [name for marker in item.iter_markers("programs") for name in marker.args]
    implied = [
        name for marker, names in PROGRAMS.items() if item.get_closest_marker(marker) for name in names
    ]
    absent = sorted(name for name in {*named, *implied} if shutil.which(name) is None)
    if absent:
        reason = f"not installed: {', '.join(absent)}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """``FAC_*`` in the developer's environment would configure the daemons that tests start."""
    for name in [name for name in os.environ if name.startswith("FAC_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def patience() -> Iterator[None]:
    """A loaded machine's disk may take its time; tests of what is too long say how long that is."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in (
            "alerts.desk.ANSWER_S",
            "alerts.ledger.PATIENCE_S",
            "history.auditor.PATIENCE_S",
            "history.recorder.PATIENCE_S",
        ):
            patch.setattr(f"fac_stream.{limit}", 60.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """A test that connects to another machine is a mistake, and one that passes only here."""
    patch = pytest.MonkeyPatch()
    for method in ("connect", "connect_ex"):
        patch.setattr(socket.socket, method, _guarded(getattr(socket.socket, method)))
    yield
    patch.undo()


def _guarded(method: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):
            raise RuntimeError(f"a test tried to reach {address[0]}: only loopback addresses are allowed")
        return method(self, address)

    return connect


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus folder, with ``manifest.csv``; skips where there is none."""
    if not (CORPUS / "manifest.csv").is_file():
        pytest.skip(f"no speech corpus at {CORPUS}; FAC_CORPUS names another place")
    return CORPUS


@pytest.fixture(scope="session")
def corpus_clips(corpus: Path) -> CorpusClips:
    """``corpus_clips(label, split, n, min_s=0, **columns)``: the same n paths each time, evenly spread.

    ``columns`` are values that columns of the manifest must have: ``language="en"``, ``kind="tts"``.
    """
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])

    def choose(label: str, split: str, n: int, *, min_s: float = 0.0, **columns: str) -> list[Path]:
        wanted = {"label": label, "split": split, **columns}
        fitting = [
            corpus / row["path"]
            for row in rows
            if float(row["duration_s"]) >= min_s and all(row[key] == value for key, value in wanted.items())
        ]
        assert len(fitting) >= n, f"the corpus has {len(fitting)} clips with {wanted} of {min_s} s, not {n}"
        return [fitting[i * len(fitting) // n] for i in range(n)]

    return choose

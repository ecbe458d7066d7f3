"""The house of ``docs/design.md``, held by reading the source: who imports whom, how long, what names."""

import ast
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fac_stream", "fac_model", "training")

ALLOWED = {
    "errors": set(),
    "events": set(),
    "config": {"events"},
    "daemon_thread": set(),
    "config_file": set(),
    "model": set(),
    "asyncapi": set(),
    "client": set(),
    "logs": set(),
    "audio": set(),
    "bus": set(),
    "protocols": {"audio"},
    "sources": {"audio", "protocols"},
    "scoring": {"audio", "model"},
    "metrics": {"scoring"},
    "calls": {"audio", "bus", "model", "protocols", "scoring", "sources"},
    "listeners": {"audio", "calls", "protocols"},
    "storage": set(),
    "history": {"bus", "calls", "storage"},
    "evidence": {"audio", "bus", "model", "scoring", "storage"},
    "alerts": {"bus", "history", "storage"},
    "server": {
        "alerts",
        "audio",
        "bus",
        "calls",
        "evidence",
        "history",
        "listeners",
        "metrics",
        "model",
        "protocols",
        "scoring",
    },
    "training": {"audio", "calls", "model", "scoring"},
    "app": {
        "alerts",
        "audio",
        "bus",
        "calls",
        "evidence",
        "history",
        "listeners",
        "logs",
        "metrics",
        "model",
        "scoring",
        "server",
        "sources",
        "storage",
    },
    "cli": {
        "alerts",
        "app",
        "audio",
        "calls",
        "client",
        "config_file",
        "evidence",
        "history",
        "model",
        "scoring",
        "server",
        "sources",
        "storage",
        "training",
    },
}
"""Room → rooms it imports. A room is a folder of ``fac_stream``, a file beside them, or another package.

Besides these, everybody but the model, which stands alone, may import the leaves.
"""

LEAVES = {"errors", "events", "config", "daemon_thread"}

ROOM_OF = {
    "fac_stream.__main__": "cli",
    "fac_stream.config_alerts": "config",
    "fac_stream.config_hooks": "config",
    "fac_stream.config_section": "config",
    "fac_stream.config_storage": "config",
    "fac_stream.config_systems": "config",
    "fac_stream.cli": "cli",
    "fac_stream.commands": "cli",
    "fac_model": "model",
    "training": "training",
}

PURE = (
    "fac_stream/audio/",
    "fac_stream/protocols/",
    "fac_stream/calls/decision.py",
    "fac_stream/calls/explanation.py",
    "fac_stream/alerts/rules.py",
    "fac_model/calibration.py",
)
IMPURE = {"asyncio", "socket", "aiohttp", "sqlite3", "torch"}

TORCH_ROOMS = (
    "fac_stream/scoring/torch_scorer.py",
    "fac_model/front_end.py",
    "fac_model/network.py",
    "fac_model/detector.py",
    "training/",
)

FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "core"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sources(*folders: str) -> dict[str, Path]:
    """Module name → file."""
    return {_name(path): path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))}


MODULES = _sources(*PACKAGES)
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
EVERYTHING = MODULES | _sources("tests", "scripts", "bench")


def _imported(name: str) -> set[str]:
    """Every module that a module names in an import, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _module(imported: str) -> str | None:
    """The module of ours that an import leads to; None for everybody else's."""
    while imported and imported not in MODULES:
        imported = imported.rpartition(".")[0]
    return imported or None


def _room(name: str) -> str | None:
    """The room of a module; the bare package ``fac_stream`` is none."""
    for prefix, room in ROOM_OF.items():
        if name == prefix or name.startswith(f"{prefix}."):
            return room
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def _edges(name: str) -> set[str]:
    return {module for imported in _imported(name) if (module := _module(imported)) not in {None, name}}


def _outside(name: str) -> set[str]:
    return {imported.split(".")[0] for imported in _imported(name)} - set(PACKAGES)


def _path(name: str) -> str:
    return MODULES[name].relative_to(ROOT).as_posix()


def test_every_room_is_in_the_table():
    """A new room is argued for by a line in the table."""
    assert {room for room in map(_room, MODULES) if room} <= set(ALLOWED)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    """A module imports its own room and the rooms that the table gives it."""
    room = _room(name)
    leaves = set() if room in LEAVES | {"model"} else LEAVES
    allowed = ALLOWED.get(room, set()) | leaves | {room, None}

    wrong = {edge for edge in _edges(name) if _room(edge) not in allowed}

    assert wrong == set(), f"{room} may import {sorted(allowed - {room, None})}"


def test_the_table_says_what_is():
    """An edge that nobody uses any more leaves the table: it shows the house as it stands."""
    unused = {room: set(others) for room, others in ALLOWED.items()}
    for name in MODULES:
        if room := _room(name):
            unused[room] -= {_room(edge) for edge in _edges(name)}

    assert {room: others for room, others in unused.items() if others} == {}


def test_rooms_have_no_cycle():
    """The table itself goes one way."""
    graphlib.TopologicalSorter(ALLOWED).prepare()
    assert all(ALLOWED[leaf] <= LEAVES for leaf in LEAVES)


def test_modules_have_no_cycle():
    """Nor is there a cycle inside a room, not even through an import inside a function."""
    graphlib.TopologicalSorter({name: _edges(name) for name in MODULES}).prepare()


@pytest.mark.parametrize("name", [name for name in MODULES if _path(name).startswith(PURE)])
def test_pure_rooms_do_no_input_or_output(name):
    """What parses, measures and decides can be tested as plain function calls."""
    assert _outside(name) & IMPURE == set()


@pytest.mark.parametrize("name", [name for name in MODULES if not _path(name).startswith(TORCH_ROOMS)])
def test_torch_stays_in_its_rooms(name):
    """A machine that scores on CPU needs no torch."""
    assert _outside(name) & {"torch", "torchaudio"} == set()


IMPORT_ALONE = """
import importlib, json, sys
ours, faults = json.load(sys.stdin), {}
for name in ours:
    for known in ours:
        sys.modules.pop(known, None)
    try:
        importlib.import_module(name)
    except BaseException as error:
        faults[name] = repr(error)
json.dump(faults, sys.stdout)
"""


@pytest.mark.timeout(300)
def test_every_module_imports_alone():
    """No module needs another one to have been imported first.

    One interpreter that forgets this project's modules between imports: as telling as one each, in a tenth of
    the time, because numpy and torch are loaded once.
    """
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALONE],
        input=json.dumps(sorted(MODULES)),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=280,
    )

    assert json.loads(run.stdout) == {}


def _loads(module: str) -> set[str]:
    """Top-level packages in memory after importing a module in a fresh interpreter."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["fac_stream.client", "fac_stream.cli"])
def test_light_modules_load_no_numerics(module):
    """A subscriber, and ``fac --help``, start without numpy and torch."""
    assert _loads(module) & {"numpy", "torch", "onnxruntime", "av"} == set()


@pytest.mark.parametrize("path", EVERYTHING.values(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path):
    """A file has one noun, a function fits on a screen."""
    text = path.read_text(encoding="utf-8")

    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    lines = len(text.splitlines())

    assert long == {}
    assert lines <= MAX_FILE_LINES


def _words(name: str) -> set[str]:
    """``AudioUtils`` and ``audio_utils`` are both ``{"audio", "utils"}``."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


@pytest.mark.parametrize("path", EVERYTHING.values(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_say_what_things_are(path):
    """No file, class or function hides behind a word that says nothing."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [path.stem, path.parent.name] + [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]

    assert [name for name in names if _words(name) & FORBIDDEN_WORDS] == []


@pytest.mark.parametrize("name", [name for name in MODULES if _room(name) not in {"cli", "training"}])
def test_tasks_belong_to_a_group(name):
    """A task that nobody waits for can die unseen: tasks are made by a TaskGroup."""
    loose = [
        ast.unparse(node.func)
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"asyncio.create_task", "asyncio.ensure_future", "loop.create_task"}
    ]

    assert loose == []


TESTS = {name: path for name, path in EVERYTHING.items() if path.stem.startswith("test_")}


@pytest.mark.parametrize("path", TESTS.values(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_test_says_what_it_promises(path):
    """One sentence a test: what would be broken if it failed."""
    mute = [
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and ast.get_docstring(node) is None
    ]

    assert mute == []

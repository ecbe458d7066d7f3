"""What is shipped: the wheel holds all that the daemon needs, nothing else, and works anywhere."""

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fac_stream", "fac_model", "training")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the working tree with the build tools of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        check=True,
        cwd=ROOT,
        timeout=110,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    """Paths inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel installed and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel],
        check=True,
        timeout=110,
    )
    return folder


@pytest.fixture
def run_installed(installed, tmp_path):
    """Runs Python code against the installed wheel, away from the checkout; returns what it printed."""

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def _files(folder: str, *patterns: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_holds_every_module(names, package):
    """No module, recipe or bundle is left behind."""
    assert (
        _files(package, "*.py", "*.yaml", "*.css", "*.json", "*.safetensors", "*.onnx", "*.png") - names
        == set()
    )


def test_holds_the_dashboard_and_the_reference_configuration(names):
    """The page and the commented configuration travel inside ``fac_stream``."""
    wanted = {f"fac_stream/{path}" for path in _files("web", "*.html", "*.css", "*.js", "*.svg")}

    assert "fac_stream/web/index.html" in wanted
    assert (wanted | {"fac_stream/config.yaml"}) - names == set()


def test_holds_the_default_bundle(names):
    """The daemon scores without fetching anything."""
    bundle = {name.rpartition("/")[2] for name in names if name.startswith("fac_model/weights/default/")}

    assert {"bundle.json", "weights.safetensors", "model.onnx"} <= bundle


def test_says_that_it_is_typed(names):
    """Type checkers read our annotations."""
    assert {"fac_stream/py.typed", "fac_model/py.typed"} <= names


def test_holds_nothing_else(names):
    """No tests, benches, recordings or build leftovers are shipped."""
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    sound = {name for name in names if name.endswith((".wav", ".opus", ".ogg", ".mp3", ".flac"))}

    assert tops == set(PACKAGES)
    assert sound == set()
    assert not any("__pycache__" in name for name in names)


def test_is_small(wheel):
    """A call-centre box on a slow line gets it in seconds."""
    assert wheel.stat().st_size < 20_000_000


def test_base_install_needs_no_torch(names, wheel):
    """CPU scoring goes through ONNX Runtime; torch comes by an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(path))
    base = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]

    assert metadata["Requires-Python"] == ">=3.11"
    assert not any(line.startswith(("torch", "sounddevice")) for line in base)


def test_finds_its_own_files_away_from_the_checkout(run_installed, installed):
    """Page and configuration are found beside the installed modules."""
    code = "from fac_stream.server import assets; print(assets.dashboard())"

    assert Path(run_installed(code)).is_relative_to(installed)


def test_loads_the_default_bundle_away_from_the_checkout(run_installed, installed):
    """The shipped weights pass their own hashes once installed."""
    code = "from fac_model.bundle import Bundle; print(Bundle.load().path)"

    assert Path(run_installed(code)).is_relative_to(installed)


def test_the_command_starts_away_from_the_checkout(run_installed):
    """``fac --help`` works from the installed wheel and lists the daemon's command."""
    code = "import sys; sys.argv = ['fac', '--help']; from fac_stream.cli import main; main()"

    assert "run" in run_installed(code)


def test_make_installs_the_versions_that_were_tested():
    """Whatever the project asks for has its version in the constraints: the same tomorrow as today."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted.extend(extra)
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    assert {re.match(r"[\w.-]+", line)[0] for line in wanted} - {"fac-stream"} == set(pinned)

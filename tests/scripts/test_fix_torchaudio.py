import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fix_torchaudio.py"

NEEDS_CUDA = """
from pathlib import Path
if list(Path(__file__).with_name("lib").glob("*.so")):
    raise OSError("libc10_cuda.so: cannot open shared object file: No such file or directory")
"""


@pytest.fixture
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("fix_torchaudio", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a torchaudio with the source given where ``import`` finds it first."""

    def install(source: str) -> Path:
        package = tmp_path / "environment" / "torchaudio"
        (package / "lib").mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        for name in ("_torchaudio.abi3.so", "libtorchaudio.abi3.so"):
            (package / "lib" / name).touch()
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        return package

    return install


def test_removes_the_libraries_that_want_cuda(script, install):
    """Where torchaudio misses CUDA's libraries, its extensions go, it imports, and the message says so."""
    package = install(NEEDS_CUDA)

    done = script.repair(package, package.parent)

    assert script.libraries(package) == []
    assert script.import_error() is None
    assert "removed its 2 extension libraries" in done


def test_leaves_a_torchaudio_that_imports(script, install):
    """Beside a CUDA torch nothing is touched."""
    package = install("")

    assert script.repair(package, package.parent) == ""
    assert len(script.libraries(package)) == 2


def test_reports_any_other_fault(script, install):
    """A fault that has nothing to do with CUDA is told, and nothing is removed."""
    package = install("raise ImportError('no torch here')")

    with pytest.raises(RuntimeError, match="no torch here"):
        script.repair(package, package.parent)
    assert len(script.libraries(package)) == 2


def test_says_when_removing_did_not_help(script, install):
    """If it still does not import, the new fault is told."""
    package = install("raise OSError('libc10_cuda.so: always')")

    with pytest.raises(RuntimeError, match="even without"):
        script.repair(package, package.parent)


def test_touches_nothing_outside_the_environment(script, install, tmp_path):
    """A torchaudio that belongs to the system is not this project's to change."""
    package = install(NEEDS_CUDA)

    with pytest.raises(RuntimeError, match="is not in"):
        script.repair(package, tmp_path / "elsewhere")
    assert len(script.libraries(package)) == 2

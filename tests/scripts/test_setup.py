import os
import shutil
import subprocess
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

INTERPRETER = """#!/bin/sh
case "$*" in
    *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *print*) echo 3.11 ;;
    *"pip install"*) echo "installed: $*" ;;
esac
"""
"""A Python that makes environments and installs nothing."""


def test_an_interpreter_may_have_a_space_in_its_path(tmp_path):
    """``make run PYTHON="/opt/my python/bin/python3"`` is one path, not two."""
    shutil.copytree(SCRIPTS, tmp_path / "a checkout" / "scripts")
    interpreter = tmp_path / "my python" / "python3"
    interpreter.parent.mkdir()
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)

    done = subprocess.run(
        ["sh", tmp_path / "a checkout" / "scripts" / "setup.sh", ""],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHON": str(interpreter)},
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert f"Making .venv with {interpreter} (3.11)" in done.stdout
    assert "installed: -m pip install" in done.stdout

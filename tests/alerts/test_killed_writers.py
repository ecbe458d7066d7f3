import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("FAC_KILL_ROUNDS", "12"))


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_what_a_killed_writer_recorded_is_on_disk_whole(tmp_path):
    """SIGKILL at random points: no recorded alert is lost, none is there without all of its deliveries."""
    seed = random.randrange(2**32)
    command = [sys.executable, ROOT / "tests/alerts/killing.py", tmp_path / "alerts.db", ROUNDS, seed]

    run = subprocess.run([str(it) for it in command], capture_output=True, text=True, cwd=ROOT, check=False)

    assert run.returncode == 0, f"seed {seed}:\n{run.stderr}"
    found = json.loads(run.stdout)
    assert (found["lost"], found["torn"]) == ([], []), f"seed {seed}"
    assert found["recorded"] > ROUNDS

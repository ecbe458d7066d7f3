"""A PulseAudio server of the test's own, with a sink that nobody hears and a deaf microphone."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

START_S = 30
SINK = "fac_sink"
MICROPHONE = "fac_mic"
RATE = 44_100


class PulseServer:
    """A running server and the environment in which programs find it."""

    def __init__(self, process, environment):
        self.process = process
        self.environment = environment

    @contextmanager
    def playing(self, samples, rate=RATE):
        """Play float samples into the sink while the block runs; they should last longer than it."""
        data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            player = subprocess.Popen(
                [
                    "pacat",
                    "--playback",
                    f"--device={SINK}",
                    f"--rate={rate}",
                    "--channels=1",
                    "--format=s16le",
                ],
                stdin=file,
                env=os.environ | self.environment,
            )
        try:
            yield
        finally:
            player.kill()
            player.wait()


@contextmanager
def pulse_server():
    """Start a server; its folder has a short name, as a socket's path may have 107 bytes only."""
    folder = Path(tempfile.mkdtemp(prefix="fac-pulse-"))
    environment = {
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_RUNTIME_PATH": str(folder / "pulse"),
        "PULSE_SERVER": f"unix:{folder}/pulse/native",
    }
    modules = (
        f"module-null-sink sink_name={SINK} rate={RATE}",
        f"module-null-source source_name={MICROPHONE} rate={RATE} description=Silent\\ microphone",
        "module-native-protocol-unix",
    )
    command = ["pulseaudio", "--daemonize=no", "-n", "--exit-idle-time=-1", "--use-pid-file=no"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *(f"--load={module}" for module in modules)],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(process, environment, folder / "log")
        yield PulseServer(process, environment)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


@pytest.fixture
def pulse(monkeypatch):
    """A server that this process and its children find."""
    with pulse_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def _wait_until_ready(process, environment, log):
    deadline = time.monotonic() + START_S
    ready = False
    while not ready:
        assert process.poll() is None, f"PulseAudio did not start:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"PulseAudio did not answer:\n{log.read_text()}"
        time.sleep(0.05)  # another program's start cannot be waited for in another way
        asked = subprocess.run(
            ["pactl", "info"], env=os.environ | environment, capture_output=True, timeout=START_S, check=False
        )
        ready = asked.returncode == 0

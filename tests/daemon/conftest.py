import io
import subprocess

import pytest
import soundfile
import soxr

from tests.running import running, s16


@pytest.fixture
def daemon(tmp_path):
    """A daemon process with the default configuration and the shipped model."""
    with running(tmp_path) as started:
        yield started


@pytest.fixture(scope="session")
def voice():
    """Four seconds of synthetic speech, 16 kHz s16le."""
    text = "Good morning, this is your bank, and we need to talk about your account at once."
    run = subprocess.run(["espeak-ng", "--stdout", text], capture_output=True, check=True, timeout=60)
    samples, rate = soundfile.read(io.BytesIO(run.stdout), dtype="float32")
    return s16(soxr.resample(samples, rate, 16_000)[: 4 * 16_000])

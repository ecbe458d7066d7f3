import importlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import yaml

from fac_stream.audio.level import rms_dbfs
from fac_stream.commands import examinations
from fac_stream.config import Config, MicrophoneSource, Model, Server
from fac_stream.errors import ScorerError
from fac_stream.sources import microphone
from fac_stream.sources.devices import Devices
from tests.fakes import FakeScorer, tone
from tests.pulse import MICROPHONE, RATE, SINK


@pytest.fixture
def healthy(monkeypatch):
    """A machine with a quick model and no sound devices."""
    monkeypatch.setattr(examinations, "open_bundle", lambda options: SimpleNamespace(eer=None))
    monkeypatch.setattr(examinations, "scorer_of", lambda bundle, options: FakeScorer())
    monkeypatch.setattr(microphone, "list_devices", lambda: Devices([], []))


@pytest.fixture
def configured(tmp_path):
    """``configured(server={...})``: the path of a configuration."""

    def write(**sections):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump({"server": {"port": 0}} | sections))
        return path

    return write


def found(outcome):
    """Name → (status, what was found, what to do)."""
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    return {row["name"]: (row["status"], row["found"], row["remedy"]) for row in rows}


def test_a_server_without_a_microphone_is_healthy(fac, healthy, configured):
    """What is not there and not needed is a warning at most."""
    outcome = fac("doctor", "--json", "--config", configured())

    statuses = {name: status for name, (status, *_) in found(outcome).items()}
    assert outcome.code == 0
    assert statuses == {
        "python": "ok",
        "config": "ok",
        "model": "ok",
        "gpu": "ok",
        "port": "ok",
        "decoders": "ok",
        "microphone": "warn",
    }
    assert "fake@00000000 on cpu" in found(outcome)["model"][1]
    assert "error rate" not in found(outcome)["model"][1]


def test_lines_for_people_have_the_remedy_below(fac, healthy, configured):
    """Status, name, what was found; what to do stands under it."""
    lines = fac("doctor", "--config", configured()).out.splitlines()

    assert lines[0].startswith("ok    python     Python 3.")
    assert lines[-2].startswith("warn  microphone no microphone found")
    assert lines[-1].strip() == "-> see: fac devices"


def test_a_bad_configuration_fails_and_the_rest_is_still_examined(fac, healthy, configured):
    """One visit tells everything."""
    outcome = fac("doctor", "--json", "--config", configured(windows={"hop": 1}))

    assert outcome.code == 1
    assert found(outcome)["config"][0] == "fail"
    assert "windows.hop: unknown key" in found(outcome)["config"][1]
    assert len(found(outcome)) == 7


def test_the_error_rate_that_the_model_states_is_told(fac, healthy, configured, monkeypatch):
    """Value and interval, where the bundle has them."""
    stated = SimpleNamespace(eer={"value": 0.2, "low": 0.153, "high": 0.26})
    monkeypatch.setattr(examinations, "open_bundle", lambda options: stated)

    outcome = fac("doctor", "--json", "--config", configured())

    assert found(outcome)["model"][1].endswith("; equal error rate 20.0% (15.3% to 26.0%)")


def test_a_model_that_does_not_load_fails(fac, healthy, configured, monkeypatch):
    """The reason is the scorer's own."""

    def broken(options):
        raise ScorerError("the bundle's hash does not fit")

    monkeypatch.setattr(examinations, "open_bundle", broken)
    outcome = fac("doctor", "--json", "--config", configured())

    assert outcome.code == 1
    assert found(outcome)["model"][:2] == ("fail", "the bundle's hash does not fit")


def test_an_examination_that_breaks_is_a_failure(fac, healthy, configured, monkeypatch):
    """A fault of ours is told as one, and the others go on."""

    def broken(options):
        raise ZeroDivisionError("strange")

    monkeypatch.setattr(examinations, "open_bundle", broken)
    outcome = fac("doctor", "--json", "--config", configured())

    assert outcome.code == 1
    assert found(outcome)["doctor"][:2] == ("fail", "ZeroDivisionError: strange")
    assert len(found(outcome)) == 7


def test_the_shipped_model_is_examined():
    """It loads, scores, and its time is told."""
    check = examinations.model(Model())

    assert check.status in ("ok", "warn")
    assert "ms a window" in check.found


def test_a_port_in_use_fails():
    """Another program's port cannot be listened on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0.0)  # accepts nobody: the examination must not wait for an answer for ever
        check = examinations.port(Server(port=taken.getsockname()[1]))

    assert check.status == "fail"
    assert "--port" in check.remedy


def test_a_daemon_that_is_running_is_recognised():
    """Then the port is in use for a good reason."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/api/health"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ok", "model": "m@0"}')

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        check = examinations.port(Server(port=server.server_port))
        server.shutdown()
        thread.join()

    assert check.status == "warn"
    assert "FAC daemon" in check.found


def test_a_gpu_that_is_asked_for_and_missing_fails():
    """``device: cuda`` on a machine without is a mistake; ``auto`` is not."""
    torch = pytest.importorskip("torch", reason="the extra gpu is not installed")
    if torch.cuda.is_available():
        assert examinations.gpu(Model(device="cuda")).status == "ok"
    else:
        assert examinations.gpu(Model(device="cuda")).status == "fail"
        assert examinations.gpu(Model()).status == "ok"


def test_without_torch_nothing_is_missing(monkeypatch):
    """The base install scores on CPU."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert examinations.gpu(Model()).status == "ok"
    assert "fac-stream[gpu]" in examinations.gpu(Model(device="cuda")).remedy


def test_a_missing_decoder_is_named(monkeypatch):
    """The names are FFmpeg's."""
    monkeypatch.setattr(examinations, "DECODERS", ("flac", "no_such_codec"))

    check = examinations.decoders()

    assert (check.status, check.found) == ("warn", "missing: no_such_codec")


def microphone_of(device):
    """A configuration with this microphone."""
    return Config(sources=[MicrophoneSource(type="microphone", device=device)])


def test_a_configured_microphone_that_is_missing_fails(healthy):
    """Nobody relies on a call that is not recorded."""
    assert examinations.microphone(microphone_of("headset")).status == "fail"


@pytest.mark.audio_device
def test_digital_silence_is_a_warning(pulse):
    """A muted microphone delivers samples, all of them zero."""
    check = examinations.microphone(microphone_of(MICROPHONE))

    assert check.status == "warn"
    assert "digital silence" in check.found


@pytest.mark.audio_device
def test_the_level_of_what_is_heard_is_told(pulse):
    """Two seconds are recorded and measured."""
    sound = tone(120.0, 440.0, rate=RATE)
    with pulse.playing(sound):
        check = examinations.microphone(microphone_of(f"{SINK}.monitor"))

    level_dbfs = float(check.found.rsplit(":", 1)[1].removesuffix(" dBFS"))
    assert check.status == "ok"
    assert level_dbfs == pytest.approx(rms_dbfs(sound), abs=6)

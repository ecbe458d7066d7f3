import json
import subprocess
import sys

import pytest
import yaml

from fac_stream import __version__, app
from fac_stream.errors import ConfigError, FacError
from fac_stream.sources import devices
from fac_stream.sources.devices import Device, Devices

GROUPS = {"alerts", "audit", "config", "corpus", "evidence", "history"}
"""Their own commands have the examples."""
COMMANDS = [
    "run",
    "scan",
    "explain",
    "replay",
    "watch",
    "devices",
    "doctor",
    "train",
    "evaluate",
    "decide",
    "average",
    "export",
    "alerts",
    "audit",
    "config",
    "evidence",
    "history",
    "corpus",
]
MICROPHONE = Device("headset", "", "pulse", 48_000, 1, monitor=False, default=True)


@pytest.fixture
def started(monkeypatch):
    """Configurations with which the daemon would have been started."""
    settings = []

    def start(config):
        settings.append(config)

    monkeypatch.setattr(app, "run", start)
    return settings


@pytest.fixture
def machine(monkeypatch):
    """``machine(devices)`` is what this computer can record."""

    def plug(*found):
        monkeypatch.setattr(devices, "list_devices", lambda: Devices(found, []))

    return plug


@pytest.mark.parametrize(
    "command", [*COMMANDS, "alerts list", "config check", "config show", "corpus build", "corpus revoice"]
)
def test_every_command_explains_itself_with_an_example(fac, command):
    """``--help`` has what one would copy."""
    outcome = fac(*command.split(), "--help")

    assert outcome.code == 0
    assert outcome.err == ""
    assert "Usage: fac" in outcome.out
    assert "Example: fac " in outcome.out or command in GROUPS


def test_the_list_of_commands_is_whole(fac):
    """Each command stands in ``fac --help`` with a description that is not cut off."""
    outcome = fac("--help")

    assert outcome.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in outcome.out
    assert "..." not in outcome.out.partition("Commands:")[2]


def test_the_version_is_told(fac):
    """``fac --version`` is what a bug report begins with."""
    assert fac("--version").out == f"fac-stream {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["sing"], ["run", "--loud"], ["scan"], ["run", "--port", "many"], ["config", "check"]]
)
def test_wrong_usage_is_code_two(fac, arguments):
    """A command line that cannot be understood starts nothing."""
    outcome = fac(*arguments)

    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(("error", "code"), [(ConfigError("bad key"), 2), (FacError("no luck"), 1)])
def test_foreseen_errors_are_one_message(fac, monkeypatch, error, code):
    """No traceback for what a user can put right."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(app, "run", fail)
    outcome = fac("run", "--no-mic")

    assert outcome.code == code
    assert outcome.err == f"fac: {error}\n"


def test_the_module_is_the_command():
    """``python -m fac_stream`` works where the script is not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "fac_stream", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == f"fac-stream {__version__}\n"


def test_a_good_file_is_good(fac, tmp_path):
    """``config check`` takes what the daemon takes."""
    path = tmp_path / "c.yaml"
    path.write_text("server: {port: 9000}\n")

    outcome = fac("config", "check", path)

    assert (outcome.code, outcome.out) == (0, f"{path}: good\n")


def test_a_bad_file_is_code_two_with_every_line(fac, tmp_path):
    """All faults at once, each with its line."""
    path = tmp_path / "c.yaml"
    path.write_text("server:\n  prot: 9000\nwindows:\n  hop_s: 9\n")

    outcome = fac("config", "check", path)

    assert outcome.code == 2
    assert f"{path}:2: server.prot: unknown key" in outcome.err
    assert f"{path}:4: windows.hop_s" in outcome.err


def test_show_is_a_configuration_with_secrets_masked(fac, tmp_path, monkeypatch):
    """What is shown may be pasted into a bug report; file and environment are in force."""
    secret = "whsec_" + "A" * 43 + "="
    url = "https://me:pass-word@hooks.example.org:8443/services/T0/hidden?key=hidden"
    path = tmp_path / "c.yaml"
    path.write_text(
        yaml.safe_dump(
            {"server": {"token": "t" * 20}, "alerts": {"webhooks": [{"url": url, "secret": secret}]}}
        )
    )
    monkeypatch.setenv("FAC_SERVER__PORT", "9001")

    shown = fac("config", "show", "--config", path).out

    assert "t" * 20 not in shown
    assert "A" * 43 not in shown
    assert "hidden" not in shown
    assert "pass-word" not in shown
    tree = yaml.safe_load(shown)
    assert tree["alerts"]["webhooks"][0]["url"] == "https://hooks.example.org:8443/…"
    assert tree["server"]["port"] == 9001
    assert tree["server"]["token"] == "*" * 10
    assert tree["windows"]["hop_s"] == 0.5


def test_the_default_microphone_is_a_call(fac, started, machine):
    """``fac run`` alone listens to what a softphone would use."""
    machine(MICROPHONE)

    outcome = fac("run", "--port", "0")

    assert outcome.code == 0
    assert "headset" in outcome.err
    assert [(source.type, source.device) for source in started[0].sources] == [("microphone", None)]
    assert started[0].server.port == 0


def test_without_a_microphone_it_says_so_and_serves(fac, started, machine):
    """A server has no microphone; that is no fault."""
    machine()

    outcome = fac("run")

    assert outcome.code == 0
    assert "without a microphone: no microphone found" in outcome.err
    assert started[0].sources == []


def test_a_configuration_says_what_is_recorded(fac, started, machine, tmp_path):
    """With --config or --no-mic, nothing is recorded that was not asked for."""
    machine(MICROPHONE)
    path = tmp_path / "c.yaml"
    path.write_text("windows: {hop_s: 1.0}\n")

    fac("run", "--config", path)
    fac("run", "--no-mic")

    assert [settings.sources for settings in started] == [[], []]
    assert started[0].windows.hop_s == 1.0


def test_the_demo_is_a_call_that_repeats(fac, started, machine, monkeypatch, tmp_path):
    """The demo needs no hardware and leaves the microphone alone."""
    machine(MICROPHONE)
    demo = pytest.importorskip("training.demo", reason="the demo is made with numpy and soxr")
    monkeypatch.setattr(demo, "build_demo_call", lambda out: out / "demo-call.wav")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    fac("run", "--demo")

    (source,) = started[0].sources
    assert source.path == tmp_path / "fac-stream" / "demo-call.wav"
    assert (source.call_id, source.pace, source.repeat) == ("demo", "realtime", True)


def test_devices_are_listed_for_people_and_programs(fac, machine):
    """One line a device; monitors and the default are marked."""
    machine(
        MICROPHONE, Device("out.monitor", "Monitor of Out", "pulse", 44_100, 2, monitor=True, default=False)
    )

    lines = fac("devices").out.splitlines()
    rows = [json.loads(row) for row in fac("devices", "--json").out.splitlines()]

    assert lines[0].split() == ["headset", "input", "pulse", "48000", "Hz", "default"]
    assert lines[1].split() == ["out.monitor", "monitor", "pulse", "44100", "Hz", "Monitor", "of", "Out"]
    assert [(row["name"], row["monitor"], row["default"]) for row in rows] == [
        ("headset", False, True),
        ("out.monitor", True, False),
    ]


def test_a_machine_with_nothing_to_record_says_so(fac, monkeypatch):
    """What is missing is told on standard error; JSON stays JSON."""
    monkeypatch.setattr(devices, "list_devices", lambda: Devices([], ["PortAudio is not installed"]))

    outcome = fac("devices", "--json")

    assert (outcome.code, outcome.out) == (0, "")
    assert "PortAudio is not installed" in outcome.err
    assert "nothing to record" in outcome.err


def test_a_missing_training_package_names_the_extra(fac, monkeypatch, tmp_path):
    """``pip install`` stands in the message."""
    for name in [name for name in sys.modules if name.startswith("training.train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)

    outcome = fac("train", "default", tmp_path, "--out", tmp_path / "run")

    assert outcome.code == 1
    assert "torch is not installed; it comes with: pip install 'fac-stream[train]'" in outcome.err


def test_a_folder_that_is_no_bundle_is_told(fac, tmp_path):
    """Export and evaluate explain what they lack."""
    pytest.importorskip("torch", reason="exporting needs the extra train")

    outcome = fac("export", tmp_path)

    assert outcome.code == 1
    assert outcome.err.startswith("fac: ")
    assert str(tmp_path) in outcome.err


def test_a_recipe_may_be_named(fac, tmp_path):
    """Recipes that come with the package need no path; others are named when one is mistyped."""
    pytest.importorskip("torch", reason="training needs the extra train")

    assert "predecessor" in fac("train", "predecesor", tmp_path, "--out", tmp_path / "run").err
    missing = fac("train", "predecessor", tmp_path / "none.csv", "--out", tmp_path / "run")
    assert missing.code in (1, 2)
    assert "none.csv" in missing.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {bundle: /nowhere}", "model.bundle: /nowhere"),
        ("server: {tls: {certificate: /no.pem, key: /no.pem}}", "server.tls: /no.pem cannot be read"),
        ("sources: [{type: file, path: /no.wav}]", "sources.0.path: /no.wav: no such file"),
        (
            "sources: [{type: microphone, call_id: a}, {type: microphone, call_id: a}]",
            "several have call_id 'a'",
        ),
    ],
)
def test_a_check_looks_at_what_the_file_names(fac, tmp_path, text, said):
    """A good file that names bad ones is not good."""
    path = tmp_path / "c.yaml"
    path.write_text(text)

    outcome = fac("config", "check", path)

    assert outcome.code == 2
    assert said in outcome.err

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.errors import SourceError
from fac_stream.sources import devices as devices_module
from fac_stream.sources.devices import (
    Device,
    Devices,
    list_devices,
    parse_pulse,
    portaudio_inputs,
    pulse_sources,
)

PULSE = """Source #0
	State: IDLE
	Name: alsa_output.pci-0000_00_1f.3.analog-stereo.monitor
	Description: Monitor of Built-in Audio Analog Stereo
	Driver: module-alsa-card.c
	Sample Specification: s16le 2ch 44100Hz
	Owner Module: 7
	Monitor of Sink: alsa_output.pci-0000_00_1f.3.analog-stereo
	Properties:
		device.description = "Monitor of Built-in Audio"

Source #58
	State: SUSPENDED
	Name: alsa_input.usb-GN_Jabra_EVOLVE_65-00.mono-fallback
	Description: Jabra Évolve 65 Mono
	Driver: PipeWire
	Sample Specification: float32le 1ch 16000Hz
	Monitor of Sink: n/a
"""

JABRA = "alsa_input.usb-GN_Jabra_EVOLVE_65-00.mono-fallback"
MONITOR = "alsa_output.pci-0000_00_1f.3.analog-stereo.monitor"


def device(name, backend="pulse", *, monitor=False, default=False, description=""):
    """One device of which only the name matters."""
    return Device(name, description, backend, 48_000, 1, monitor, default)


def test_sources_of_the_server_are_read():
    """Name, rate, channels, monitors and the default come from pactl's listing."""
    assert parse_pulse(PULSE, JABRA) == [
        Device(MONITOR, "Monitor of Built-in Audio Analog Stereo", "pulse", 44_100, 2, True, False),
        Device(JABRA, "Jabra Évolve 65 Mono", "pulse", 16_000, 1, False, True),
    ]


@given(st.lists(st.sampled_from([*PULSE.splitlines(keepends=True), "Source #", "\n", "Name: x\n", "é"])))
def test_a_strange_listing_gives_usable_devices_or_none(lines):
    """Whatever another version prints, no device comes without name and rate."""
    for found in parse_pulse("".join(lines), None):
        assert found.name
        assert found.sample_rate in (44_100, 16_000)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("jabra", JABRA),
        ("ÉVOLVE 65 mono", JABRA),
        (MONITOR, MONITOR),
        (".monitor", MONITOR),
        (None, JABRA),
        ("HDA Intel: ALC, ALSA", "HDA Intel: ALC, ALSA"),
        ("hda intel", "HDA Intel: ALC, ALSA"),
    ],
)
def test_part_of_a_name_is_enough(wanted, name):
    """A device is chosen by any part of its name or description, in any case."""
    known = Devices([*parse_pulse(PULSE, None), device("HDA Intel: ALC, ALSA", "portaudio")], [])

    assert known.choose(wanted).name == name


def test_a_whole_name_wins_over_parts():
    """A name that is part of another one can still be chosen."""
    known = Devices([device("mic"), device("mic 2")], [])

    assert known.choose("mic").name == "mic"


def test_the_same_hardware_twice_is_no_ambiguity():
    """PortAudio shows the server's devices a second time; the server's are taken."""
    known = Devices([device("usb mic"), device("USB Mic, ALSA", "portaudio")], [])

    assert known.choose("usb").backend == "pulse"


def test_several_that_fit_are_named():
    """The message has the names to choose from."""
    known = Devices([device("mic 1"), device("mic 2"), device("line")], [])

    with pytest.raises(SourceError, match="several devices fit 'MIC': 'mic 1', 'mic 2'; give more"):
        known.choose("MIC")


def test_none_that_fits_names_all_and_the_reasons():
    """The message has what there is, and what may be missing."""
    known = Devices([device("line")], ["PortAudio is not installed: sudo apt-get install libportaudio2"])

    with pytest.raises(SourceError, match="no sound device fits 'mic'; there are: 'line'; PortAudio is not"):
        known.choose("mic")


def test_the_default_is_never_a_monitor():
    """Nobody is recorded by what the speakers play unless that was asked for."""
    speakers = device("out.monitor", monitor=True, default=True)
    alias = device("default, ALSA", "portaudio", default=True)

    assert Devices([speakers, device("mic"), alias], []).choose(None).name == "mic"
    with pytest.raises(SourceError, match=r"no microphone found; only monitors of speakers: 'out\.monitor'"):
        Devices([speakers, alias], []).choose(None)
    with pytest.raises(SourceError, match=r"no microphone found$"):
        Devices([], []).choose(None)


def test_without_a_server_the_default_is_portaudios():
    """Its own default wins over the first in the list."""
    known = Devices([device("a", "portaudio"), device("b", "portaudio", default=True)], [])

    assert known.choose(None).name == "b"


class Programs:
    """In place of child processes: what each program prints, or the error that starting it raises."""

    def __init__(self, **answers):
        self.answers = answers

    def run(self, *command):
        """In place of ``_run``."""
        answer = self.answers["pactl" if command[0] == "pactl" else "portaudio"]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def programs(monkeypatch):
    """``programs(pactl=…, portaudio=…)`` sets what they answer."""

    def install(**answers):
        monkeypatch.setattr(devices_module, "_run", Programs(**answers).run)

    return install


def failed(complaint):
    """What running a program raises that complained and gave up."""
    return subprocess.CalledProcessError(1, "program", stderr=complaint)


@pytest.mark.parametrize("error", [FileNotFoundError("pactl"), failed("Connection failure: refused\n")])
def test_a_machine_without_a_server_has_no_sources(programs, error):
    """No PulseAudio is normal, not a fault."""
    programs(pactl=error)

    assert pulse_sources() == []


def test_a_server_that_hangs_is_a_problem_not_an_empty_list(programs):
    """What did not answer is told; the other backend is listed all the same."""
    inputs = [{"index": 0, "name": "Mic, ALSA", "sample_rate": 44100, "channels": 2, "default": True}]
    programs(pactl=SourceError("the sound system did not answer"), portaudio=json.dumps(inputs))

    known = list_devices()

    assert known.problems == ["the sound system did not answer"]
    assert known.found == [Device("Mic, ALSA", "", "portaudio", 44_100, 2, False, True)]


def test_portaudios_last_complaint_is_told(programs):
    """Drivers chatter on standard error; the reason is the last line."""
    programs(portaudio=failed("ALSA lib confmisc.c:855: noise\nPortAudio is not installed: do this\n"))

    with pytest.raises(SourceError, match=r"^PortAudio is not installed: do this$"):
        portaudio_inputs()


@pytest.mark.parametrize("printed", ["", "\n", "noise", "{}3", "[3]", "[{}]", "3", '[{"name": null}]'])
def test_a_list_that_cannot_be_read_is_told(programs, printed):
    """Whatever the PortAudio program prints, it is devices or a problem."""
    programs(pactl=FileNotFoundError("pactl"), portaudio=printed)

    known = list_devices()

    assert known.found == []
    assert len(known.problems) == 1


def test_drivers_may_chatter_before_the_list(programs):
    """The list is the last line."""
    programs(portaudio="ALSA: noise\nJACK: more of it\n[]\n")

    assert portaudio_inputs() == []


def test_a_program_that_cannot_be_run_is_told(tmp_path):
    """No right to execute it is another thing than no such program."""
    program = tmp_path / "pactl"
    program.write_text("no program", encoding="utf-8")

    with pytest.raises(SourceError, match=r"'.*pactl' cannot be run: Permission denied"):
        devices_module._run(str(program))


def test_a_program_that_hangs_is_killed_and_told(monkeypatch):
    """Asking the sound system has a deadline."""
    monkeypatch.setattr(devices_module, "DEADLINE_S", 0.1)

    with pytest.raises(SourceError, match="did not answer"):
        devices_module._run(sys.executable, "-c", "import time; time.sleep(60)")

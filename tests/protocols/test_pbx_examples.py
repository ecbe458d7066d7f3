"""What docs/connect tells to paste for Asterisk and FreeSWITCH."""

import configparser
import hashlib
import re
import uuid
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET

import pytest
import yaml

from fac_stream.config import Config
from fac_stream.protocols.asterisk import FORMATS, SUBPROTOCOL, AsteriskStream
from fac_stream.protocols.freeswitch import LEGS, FreeSwitchStream
from fac_stream.server.asterisk import AsteriskPlatform
from fac_stream.server.freeswitch import FreeSwitchPlatform

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("asterisk-audiosocket", "asterisk-websocket", "freeswitch")
FILES = [
    pytest.param(system, path, id=f"{system}-{path.name}")
    for system in SYSTEMS
    for path in sorted((ROOT / "deploy/examples" / system).iterdir())
]


def example(path):
    """The text of an example."""
    return (ROOT / "deploy/examples" / path).read_text(encoding="utf-8")


def expanded(text, value):
    """The text with every ``${…}``, innermost first, turned into a value."""
    while "${" in text:
        text = re.sub(r"\$\{[^${}]*\}", value, text)
    return text


@pytest.mark.parametrize(("system", "path"), FILES)
def test_the_page_shows_the_file(system, path):
    """The file is linked and stands there letter by letter."""
    page = (ROOT / f"docs/connect/{system}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert path.read_text(encoding="utf-8") in blocks
    assert f"(../../deploy/examples/{system}/{path.name})" in page


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_configuration_is_one(system):
    """Every key of it exists, those behind a # as well."""
    text = example(f"{system}/config.yaml")
    Config.model_validate(yaml.safe_load(text))
    keys = re.sub(r"# (\w+: (?!\.\.)\S)", r"\1", text)
    Config.model_validate(yaml.safe_load(keys))


def test_the_dialplan_makes_uuids():
    """What its substrings cut out of an MD5 is a UUID in the form that AudioSocket() wants."""
    line = re.search(r"Set\(FAC_UUID=(.*)\)", example("asterisk-audiosocket/extensions.conf"))[1]
    digits = hashlib.md5(b"pbx1-1700000000.42", usedforsecurity=False).hexdigest()
    made = re.sub(r"\$\{M:(\d+):(\d+)\}", lambda m: digits[int(m[1]) : int(m[1]) + int(m[2])], line)
    assert str(uuid.UUID(made)) == made


def test_asterisk_is_led_to_its_path_and_format():
    """Address, subprotocol and codec are those that the daemon takes; so are the parameters."""
    client = configparser.ConfigParser()
    client.read_string(example("asterisk-websocket/websocket_client.conf"))
    assert urlsplit(client["fac"]["uri"]).path in AsteriskPlatform.paths
    assert client["fac"]["protocols"] == SUBPROTOCOL
    dialplan = example("asterisk-websocket/extensions.conf")
    assert re.search(r"Dial\(WebSocket/fac/c\((\w+)\)", dialplan)[1] in FORMATS
    said = re.search(r"Set\(WHO=(.*)\)$", dialplan, re.MULTILINE)[1]
    parameters = dict(pair.split("=") for pair in expanded(said, "17.42").split(","))
    (start,) = AsteriskStream(parameters).receive_text("MEDIA_START format:slin16")
    assert (start.call_id, start.format.legs, set(start.metadata)) == ("17.42", ("caller",), {"caller"})


@pytest.mark.parametrize("name", ["audio_fork.xml", "audio_stream.xml"])
def test_freeswitch_says_in_the_address_what_the_command_says(name):
    """The daemon reads rate and channels from the address as the module takes them from the command."""
    actions = {
        key: value
        for action in ET.fromstring(example(f"freeswitch/{name}")).iter("action")
        for key, _, value in [action.get("data").partition("=")]
    }
    url = urlsplit(expanded(actions["fac_url"], "17"))
    *_, mix, rate = actions["api_on_answer"].split()
    parameters = dict(parse_qsl(url.query))
    assert url.path in FreeSwitchPlatform.paths
    assert (parameters["channels"], parameters["rate"]) == (mix, rate)
    start, _ = FreeSwitchStream(parameters).receive_bytes(bytes(4))
    assert (start.format.sample_rate, start.format.legs) == (16_000, LEGS[mix])
    assert (start.call_id, set(start.metadata)) == ("17", {"caller"})


@pytest.mark.parametrize("system", SYSTEMS)
def test_links_lead_somewhere(system):
    """Every relative link of the page."""
    page = ROOT / f"docs/connect/{system}.md"
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (page.parent / target).exists()] == []

"""What docs/connect tells to paste for the platforms on WebSockets."""

import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from fac_stream.config import Config
from fac_stream.protocols.jambonz import RATES

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("twilio", "signalwire", "telnyx", "plivo", "exotel", "vonage", "jambonz")
FILES = [
    pytest.param(system, path, id=f"{system}-{path.name}")
    for system in SYSTEMS
    for path in sorted((ROOT / "deploy/examples" / system).iterdir())
]


@pytest.mark.parametrize(("system", "path"), FILES)
def test_the_page_shows_the_file(system, path):
    """The file is linked and stands there letter by letter."""
    page = (ROOT / f"docs/connect/{system}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)

    assert path.read_text(encoding="utf-8") in blocks
    assert f"(../../deploy/examples/{system}/{path.name})" in page


@pytest.mark.parametrize(("system", "path"), FILES)
def test_the_file_is_well_formed(system, path):
    """XML and JSON parse, the configuration is one, and whatever names an address names this platform's."""
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".xml":
            ET.fromstring(text)
        case ".json":
            json.loads(text)
        case ".yaml":
            Config.model_validate(yaml.safe_load(text))
        case ".sh":
            (body,) = [word for word in shlex.split(text) if word.startswith("{")]
            json.loads(body)
    where = system if system in {"vonage", "jambonz"} else "twilio"
    assert set(re.findall(r"/ws/(\w+)", text)) <= {where}


def test_the_verb_of_jambonz_is_one_that_the_daemon_takes():
    """Rate and mix are among those that the parser knows."""
    text = (ROOT / "deploy/examples/jambonz/application.json").read_text(encoding="utf-8")
    (dial,) = json.loads(text)
    assert dial["listen"]["sampleRate"] in RATES
    assert dial["listen"]["mixType"] == "stereo"


@pytest.mark.parametrize("system", SYSTEMS)
def test_links_of_the_page_lead_somewhere(system):
    """Every relative link is to a file that is there."""
    page = ROOT / f"docs/connect/{system}.md"
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []

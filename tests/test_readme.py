"""What the README shows is true of the program beside it."""

import ast
import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from fac_stream.cli import app
from fac_stream.events import WindowScored, decode
from fac_stream.protocols.pcm import Hello, PcmStream

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_hello_is_one_that_the_daemon_takes():
    """Whoever copies the first message of ``/ws/ingest`` is let in."""
    (hello,) = [text for text in blocks("json") if "sample_rate" in text]

    assert isinstance(PcmStream().receive_text(hello), Hello)


def test_the_event_is_one_that_the_daemon_sends():
    """Its fields are those of the wire format, and it shows most of them."""
    (event,) = [text for text in blocks("json") if "window.scored" in text]

    assert isinstance(decode(event), WindowScored)
    assert len(json.loads(event)) > 10


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_is_python(code):
    """The examples parse, and what they import from here is there."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("fac_"):
            module = __import__(node.module, fromlist=["_"])
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_every_command_is_listed():
    """The table has each command that ``fac --help`` shows, and no other."""
    section = README.partition("## Commands")[2].partition("##")[0]
    listed = set(re.findall(r"`fac ([a-z]+)", section))

    assert listed == set(get_command(app).commands)


def test_links_lead_somewhere():
    """Every relative link is to a file that is there."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z]+)", README, re.MULTILINE))
def test_make_knows_its_targets(target):
    """The commands a newcomer types first exist."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)

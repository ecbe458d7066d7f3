import re
import shlex
from pathlib import Path

import pytest
import typer

from fac_stream.cli import app
from fac_stream.commands.training import shipped
from fac_stream.errors import ConfigError

ROOT = typer.main.get_command(app)
README = Path(__file__).resolve().parents[2] / "README.md"


def examples(command):
    """Every example below a command, as one would type it."""
    if command.epilog:
        yield command.epilog.partition(": ")[2]
    for below in getattr(command, "commands", {}).values():
        yield from examples(below)


EXAMPLES = list(examples(ROOT))
LINES = re.findall(r"^fac [^#\n]*", README.read_text(encoding="utf-8"), re.MULTILINE)
"""Commands as the README shows them."""


def leaves(command):
    """The commands that do something: groups stand for those below."""
    below = getattr(command, "commands", {}).values()
    for one in below:
        yield from leaves(one)
    if not below:
        yield command


def parsed(example):
    """What the parser makes of an example: the command's context."""
    program, *words = shlex.split(example.partition(" > ")[0])
    assert program == "fac"
    command, path = ROOT, program
    while hasattr(command, "commands"):
        path, command = f"{path} {words[0]}", command.commands[words[0]]
        del words[0]
    return command.make_context(path, words)


def test_every_command_has_an_example():
    """Those below ``config`` and ``corpus``, too."""
    assert [command.name for command in leaves(ROOT) if not command.epilog] == []


@pytest.mark.parametrize("example", [*EXAMPLES, *LINES])
def test_every_example_can_be_typed(example):
    """Commands, options and the types of their values are those of the real parser."""
    assert parsed(example).params


def test_the_recipe_of_the_example_exists():
    """Nobody's first training ends with "no such recipe"."""
    (example,) = [example for example in EXAMPLES if example.startswith("fac train")]

    assert shipped(parsed(example).params["recipe"], "recipe").is_file()


def test_the_plan_of_the_example_exists(tmp_path, monkeypatch):
    """Also where a folder of its name lies: the example makes one."""
    (example,) = [example for example in EXAMPLES if example.startswith("fac corpus build")]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()

    assert shipped(parsed(example).params["plan"], "plan").is_file()


@pytest.mark.parametrize(("kind", "other"), [("recipe", "corpus"), ("plan", "default")])
def test_a_plan_is_no_recipe(kind, other):
    """Only what the command can use is named and found."""
    with pytest.raises(ConfigError, match=f"no {kind} '{other}'; there are: (?!.*{other})"):
        shipped(Path(other), kind)

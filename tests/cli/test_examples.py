import shlex

import pytest
import typer

from fac_stream.cli import app
from fac_stream.commands.training import _recipe

ROOT = typer.main.get_command(app)


def examples(command):
    """Every example below a command, as one would type it."""
    if command.epilog:
        yield command.epilog.partition(": ")[2]
    for below in getattr(command, "commands", {}).values():
        yield from examples(below)


EXAMPLES = list(examples(ROOT))


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
    """Nine commands, two of them below ``config``, and how to start."""
    assert len(EXAMPLES) == 11


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_typed(example):
    """Commands, options and the types of their values are those of the real parser."""
    assert parsed(example).params


def test_the_recipe_of_the_example_exists():
    """Nobody's first training ends with "no such recipe"."""
    (example,) = [example for example in EXAMPLES if example.startswith("fac train")]

    assert _recipe(parsed(example).params["recipe"]).is_file()

import pytest

from fac_stream.cli import main
from tests.pulse import pulse  # noqa: F401 - a fixture


class Outcome:
    """How a command ended."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def fac(capfd):
    """``fac("scan", path)`` runs the command in this process."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(exit_info.value.code or 0, out, err)

    return run

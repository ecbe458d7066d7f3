"""What a user's own module offers, found by ``module:name``."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fac_stream.errors import ConfigError


def imported(place: str, option: str) -> Callable[..., Any]:
    """What ``module:name`` names, a function or class; modules of the current folder are found, too.

    Args:
        place: as the user wrote it.
        option: where, for the message: ``--peer``.

    Raises:
        ConfigError: there is no such module, or nothing of that name in it that can be called.
    """
    module_name, _, name = place.partition(":")
    if not module_name or not name:
        raise ConfigError(f"{option} {place!r} is not of the form module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    where = "it must lie in the working folder, in PYTHONPATH or be installed"
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{option} {place}: cannot import {module_name}: {error}; {where}") from error
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{option} {place}: {module_name} has no function {name}; {where}")
    return found

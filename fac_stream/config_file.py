"""Reading a configuration from YAML and ``FAC_*`` environment variables.

``FAC_SERVER__PORT=9000`` sets ``server.port``: a double underscore goes one level down, the value is read as
YAML, secrets are taken as they stand. The environment wins over the file, the command line over both. Every
fault is told with path and line, or with the variable's name.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from fac_stream.config import Config
from fac_stream.errors import ConfigError

ENV_PREFIX = "FAC_"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
    """Read a configuration.

    Args:
        path: YAML file; None for the defaults alone.
        environ: where ``FAC_*`` is looked up; the process environment unless given.
        overrides: dotted paths with double underscores, as the command line sets them (``server__port=0``).

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is bad; names every fault.
    """
    name = str(path) if path else "configuration"
    tree, node = _parse(_read(path) if path else "", name)
    origins: dict[tuple[str, ...], str] = {}
    for variable, value in sorted((os.environ if environ is None else environ).items()):
        if variable.startswith(ENV_PREFIX):
            keys = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
            _put(tree, keys, value if _is_secret(keys) else _env_value(variable, value), variable)
            origins[keys] = variable
    for dotted, value in overrides.items():
        if value is not None:
            _put(tree, tuple(dotted.split("__")), value, "command line")
            origins[tuple(dotted.split("__"))] = "command line"
    try:
        return Config.model_validate({key: value for key, value in tree.items() if value is not None})
    except ValidationError as error:
        lines = [_explain(fault, node, name, origins) for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _parse(text: str, name: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """The sections, and the nodes that know their lines."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(node, name)
        tree = yaml.safe_load(text) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}:1: the top level must be a mapping of sections")
    return tree, node


def _refuse_duplicates(node: yaml.Node | None, name: str) -> None:
    """YAML lets a later key silently win over an earlier one; in a configuration that is a mistake."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{name}:{key.start_mark.line + 1}: a key must be a word")
            if key.value in seen:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: {key.value!r} stands here a second time"
                )
            seen.add(key.value)
            _refuse_duplicates(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, name)


def _is_secret(keys: tuple[str, ...]) -> bool:
    """Whether a variable holds a secret: that is taken as it stands, whatever YAML would make of it."""
    annotation: Any = Config
    for key in keys:
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if not is_section or key not in annotation.model_fields:
            return False
        annotation = annotation.model_fields[key].annotation
    return SecretStr in get_args(annotation)


def _env_value(variable: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{variable}: its value is not valid YAML: quote it") from None


def _put(tree: dict[str, Any], keys: tuple[str, ...], value: Any, origin: str) -> None:
    for key in keys[:-1]:
        child = tree.get(key)
        if child is None:
            child = tree[key] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{origin}: {key!r} is not a section; lists are set whole, as YAML")
        tree = child
    tree[keys[-1]] = value


def _explain(fault: Any, node: yaml.Node | None, name: str, origins: Mapping[tuple[str, ...], str]) -> str:
    location = fault["loc"]
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
    path = ".".join(str(part) for part in _without_tags(location)) or "(top level)"
    near = [keys for keys in origins if keys == location[: len(keys)] or keys[: len(location)] == location]
    origin = origins[near[0]] if near else None
    return f"{origin or f'{name}:{_line_of(node, location)}'}: {path}: {message}"


def _without_tags(location: tuple[Any, ...]) -> list[Any]:
    """Drop the discriminator that pydantic puts after a list index (``sources.0.microphone.device``)."""
    return (
        [part for i, part in enumerate(location) if not (i and isinstance(location[i - 1], int) and i > 1)]
        if location[:1] == ("sources",)
        else list(location)
    )


def _line_of(node: yaml.Node | None, location: tuple[Any, ...]) -> int:
    """The deepest line of the file that still lies on the way to ``location``."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                continue
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line

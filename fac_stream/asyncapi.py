"""The description of /ws/events, made from the event models: AsyncAPI 3.0 and a page for people.

``python -m fac_stream.asyncapi docs`` writes ``docs/asyncapi.yaml`` and ``docs/events.md``.
"""

import inspect
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from fac_stream import __version__
from fac_stream.events import (
    WIRE_VERSION,
    AlertMarked,
    AlertRaised,
    AlertResolved,
    CallDeleted,
    CallEnded,
    CallStarted,
    DecisionChanged,
    Event,
    HealthChanged,
    Snapshot,
    WindowScored,
)

MESSAGES: tuple[type[Event], ...] = (
    Snapshot,
    CallStarted,
    WindowScored,
    DecisionChanged,
    AlertRaised,
    AlertResolved,
    AlertMarked,
    HealthChanged,
    CallEnded,
    CallDeleted,
)
CLOSE_CODES = {
    1001: "the daemon is stopping; reconnect later",
    1011: "a fault of the daemon; reconnect",
    4008: "the subscriber did not keep up; reconnect and start from the snapshot",
    4400: "the subscriber sent something else than a request for a snapshot",
}


def document() -> dict[str, Any]:
    """The AsyncAPI document as plain data."""
    models = [(model, "serialization") for model in MESSAGES]
    _, schema = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    names = [model.__name__ for model in MESSAGES]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FAC Stream events",
            "version": __version__,
            "description": f"Wire format version {WIRE_VERSION}. {_about(Event)}",
            "license": {"name": "Apache-2.0"},
        },
        "servers": {"local": {"host": "127.0.0.1:8765", "protocol": "ws"}},
        "channels": {
            "events": {
                "address": "/ws/events",
                "description": "One JSON object a text message; a snapshot first. Query: call_id, types.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            }
        },
        "operations": {"receiveEvents": {"action": "send", "channel": {"$ref": "#/channels/events"}}},
        "components": {
            "messages": {
                model.__name__: {
                    "name": model.model_fields["type"].default,
                    "summary": _about(model),
                    "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
                }
                for model in MESSAGES
            },
            "schemas": schema["$defs"],
        },
    }


def markdown() -> str:
    """The same for people."""
    schemas = document()["components"]["schemas"]
    enums = {
        name: ", ".join(f"`{value}`" for value in schema["enum"])
        for name, schema in schemas.items()
        if "enum" in schema
    }
    parts = [_INTRODUCTION]
    parts += [f"| {code} | {meaning} |" for code, meaning in CLOSE_CODES.items()]
    parts.append("\n## Every event\n\nType `snapshot` to `call.ended`, all of them have:\n")
    parts += _table(schemas["Snapshot"], Event.model_fields, enums)
    for model in MESSAGES:
        own = [name for name in model.model_fields if name not in Event.model_fields and name != "type"]
        parts.append(f"\n## `{model.model_fields['type'].default}`\n\n{_about(model)}\n")
        parts += _table(schemas[model.__name__], own, enums)
    parts.append("\n## Records inside events\n")
    for name in ("Explanation", "DrivingWindow", "ScorePoint", "CallSummary", "LegSummary"):
        parts.append(f"\n### {name}\n\n{schemas[name]['description']}\n")
        parts += _table(schemas[name], schemas[name]["properties"], enums)
    return "\n".join(parts) + "\n"


def _about(model: type[Event]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`").replace("\n", " ")


def _table(schema: dict[str, Any], names: Any, enums: dict[str, str]) -> list[str]:
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name in names:
        field = schema["properties"][name]
        text = field.get("description", "").replace("``", "`").replace("\n", " ")
        rows.append(f"| `{name}` | {_type(field, enums)} | {text} |")
    return rows


def _type(field: dict[str, Any], enums: dict[str, str]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(option, enums) for option in field["anyOf"])
    if "const" in field:
        return f'`"{field["const"]}"`' if isinstance(field["const"], str) else f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'], enums)}"
    name = "RFC 3339 time" if field.get("format") == "date-time" else field.get("type", "any")
    name = str(field.get("$ref", name)).rsplit("/", 1)[-1]
    return enums.get(name, name)


_INTRODUCTION = """# Events on `/ws/events`

<!-- Made by `python -m fac_stream.asyncapi docs` from fac_stream/events.py; do not edit. -->

Connect a WebSocket to `ws://127.0.0.1:8765/ws/events`. Each text message is one JSON object. The first is a
`snapshot`; apply it, then every message that follows.

- `?call_id=ID` gives the events of one call, `?types=decision.changed,alert.raised` those of some types.
- Send `{"type":"snapshot"}` to get a fresh snapshot.
- `seq` rises with every event of the daemon. Filters and thinned scores leave holes, which are normal:
  scores are thinned out for a reader who falls behind; all other events are never dropped.
- The alerts of a call that ends are resolved right after its `call.ended`: those are its last events.
- A reader who cannot take even those is closed with code 4008 and starts over from the snapshot.
- With `server.token` set, send `Authorization: Bearer TOKEN`. A browser, which cannot set headers on a
  WebSocket, offers the subprotocols `fac.v1` and `fac.token.` + base64url of the token.
- `server.max_subscribers` may read at a time; the next one is answered 503 with `Retry-After` instead.
- `score` and `smoothed` are probabilities that the voice is synthetic. `null` means that there is no score;
  it never means that the voice is human.

In Python: `async for event in fac_stream.client.subscribe("ws://127.0.0.1:8765/ws/events")`.
The same as a schema: [asyncapi.yaml](asyncapi.yaml).

| close code | meaning |
|---|---|"""


def main(folder: str) -> None:
    """Write both files into ``folder``."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)
    (out / "asyncapi.yaml").write_text(text, encoding="utf-8")
    (out / "events.md").write_text(markdown(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs")

"""What a hook's message says: the operator's words with the fields of an alert in them. Pure.

Call ids and the like come from outside. In a message they are text: no control characters, no markup that a
chat would take for a mention of everybody, and never long.
"""

import re
from string import Template

from fac_stream.alerts.message import Message
from fac_stream.config_hooks import FIELDS

MAX_FIELD = 500
MAX_MESSAGE = 4000
ANGLES = str.maketrans(
    "<>", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
)
"""Slack's ``<!channel>`` and the tags of mail are written with angles."""
BROADCAST = re.compile(r"@(?=everyone|here|channel|all\b)", re.IGNORECASE)


def fields(message: Message) -> dict[str, str]:
    """The alert's fields as text, by the names of ``FIELDS``; empty where the event has none."""
    about = message.event
    data = about["data"]
    state = message.type.removeprefix("alert.")
    found = {name: data.get(name) for name in FIELDS} | {"state": state, "time": about["time"]}
    if found["summary"] is None:
        of_what = f" on {data['leg']} of call {data['call_id']}" if data["call_id"] else ""
        found["summary"] = f"Over ({data['reason']}): {data['rule']}{of_what}"
    return {name: _text(value) for name, value in found.items()}


def rendered(template: str, message: Message) -> str:
    """The message in the operator's words; ``template`` was checked with the configuration."""
    return Template(template).safe_substitute(fields(message))[:MAX_MESSAGE]


def _text(value: object) -> str:
    text = "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
    printable = "".join(it if it.isprintable() else " " for it in text[:MAX_FIELD])
    return BROADCAST.sub("@\N{ZERO WIDTH SPACE}", printable).translate(ANGLES)

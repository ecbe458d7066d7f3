"""Golden conversations with a dialogue: messages in, typed messages out, kept as JSON files."""

import json
from pathlib import Path

import pytest

from fac_stream.errors import ProtocolError
from fac_stream.protocols.audiosocket import Announced, Broken
from fac_stream.protocols.dialogue import Finish, Hangup, Media, Send, Start


def golden(name):
    """The files of one protocol."""
    return sorted((Path(__file__).parent / "data" / name).glob("*.json"))


def stopped_clock():
    """A clock on which everything arrives at once."""
    return 0.0


def plain(message):
    """A message as the files write it."""
    writers = {
        Announced: lambda: {"announced": message.uuid},
        Broken: lambda: {"broken": message.code},
        Start: lambda: {"start": _start(message)},
        Media: lambda: {"media": {"hex": message.data.hex(), "at": message.at}},
        Finish: lambda: {"finish": {}},
        Send: lambda: {"send": message.data},
        Hangup: lambda: {"hangup": message.code},
    }
    return writers[type(message)]()


def _start(start):
    return {
        "sample_rate": start.format.sample_rate,
        "encoding": start.format.encoding.value,
        "legs": list(start.format.legs),
        "call_id": start.call_id,
        "metadata": start.metadata,
        "token": start.token,
    }


def receive(dialogue, message):
    """Feed one message of a file, or a text, bytes or None for the close."""
    if isinstance(message, dict):
        message = message.get("text", bytes.fromhex(message["hex"]) if "hex" in message else None)
    match message:
        case str():
            return dialogue.receive_text(message)
        case bytes():
            return dialogue.receive_bytes(message)
        case None:
            return dialogue.receive_close()


def check(recorded, take, parts):
    """Feed the parts: they give what was recorded, and the last one the recorded refusal, if any."""
    received = []
    if "error" in recorded:
        *parts, last = parts
    for part in parts:
        received += [plain(message) for message in take(part)]
    assert received == recorded["expected"]
    if "error" in recorded:
        with pytest.raises(ProtocolError) as refused:
            take(last)
        assert recorded["error"] in str(refused.value)


def read(path):
    """A recorded conversation."""
    return json.loads(path.read_text(encoding="utf-8"))


def sound(messages):
    """All audio of some messages, joined."""
    return b"".join(message.data for message in messages if isinstance(message, Media))

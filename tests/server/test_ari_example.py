import asyncio
import importlib.util
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.listeners.rtp_room import http, listening
from tests.peers.ari import Asterisk
from tests.server.serving import voice

EXAMPLE = Path(__file__).parents[2] / "deploy/examples/asterisk-ari-externalmedia/watch_calls.py"


@pytest.fixture
def example():
    """The script of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location("watch_calls", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_both_sides_of_a_call_are_heard(tmp_path, example, monkeypatch):
    """The script and an Asterisk by the book: one call, a leg a direction, ended with the channel."""
    voices = {"in": voice(0.9, 3), "out": voice(0.1, 3)}
    async with (
        listening(tmp_path) as (served, listener),
        http(served, listener) as url,
        Asterisk(voices, pace=8) as asterisk,
        ClientSession() as session,
    ):
        monkeypatch.setattr(example, "ARI", asterisk.url)
        monkeypatch.setattr(example, "PASSWORD", "secret")
        monkeypatch.setattr(example, "DAEMON", url.rstrip("/"))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(example.Watcher(session).run())
            await asterisk.call("1700000000.12")
            ended = await served.first("call.ended")
            watching.cancel()

    (started,) = served.of("call.started")
    assert started.call_id == "1700000000.12"
    assert (started.legs, started.encoding) == (["caller", "agent"], "mulaw")
    assert started.metadata == {"from": "+491701234567", "to": "100"}
    assert (ended.reason, ended.lost_s) == ("completed", 0.0)
    scores = {event.leg: event.score for event in served.of("window.scored")}
    assert scores == {"caller": pytest.approx(0.9, abs=0.02), "agent": pytest.approx(0.1, abs=0.02)}


async def test_a_call_goes_on_where_it_cannot_be_heard(tmp_path, example, monkeypatch):
    """The daemon is full: the channel continues in the dialplan all the same, and nothing else is made."""
    async with (
        listening(tmp_path, pairs=1) as (served, listener),
        http(served, listener) as url,
        Asterisk({}) as asterisk,
        ClientSession() as session,
    ):
        monkeypatch.setattr(example, "ARI", asterisk.url)
        monkeypatch.setattr(example, "PASSWORD", "secret")
        monkeypatch.setattr(example, "DAEMON", url.rstrip("/"))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(example.Watcher(session).run())
            await asterisk.call("1700000000.13")
            watching.cancel()

    assert asterisk.requests == [("POST", "channels/1700000000.13/continue", {})]
    assert served.events == []

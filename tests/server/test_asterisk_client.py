"""Going to calls that wait at an Asterisk, with whatever can go wrong there."""

import asyncio
import socket
from contextlib import suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from fac_stream.server import asterisk_client, bodies
from fac_stream.server.asterisk_client import MAX_BODY_BYTES
from tests.peers.asterisk import CONNECTION_ID, media_start, send_call, waiting_call
from tests.server.serving import serving, voice

FORM = {"connection_id": CONNECTION_ID, "call_id": "17.42"}


class FirstFailure:
    """A log that tells when the first attempt has failed."""

    def __init__(self):
        self.failed = asyncio.Event()

    def warning(self, *_, **__):
        """An attempt failed."""
        self.failed.set()


async def test_it_tries_again_until_asterisk_is_there(tmp_path, monkeypatch):
    """A port that nobody listens on yet is tried again, while who asked waits for the answer."""
    log = FirstFailure()
    monkeypatch.setattr(asterisk_client, "log", log)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # nobody listens yet: connections are refused
    url = f"ws://127.0.0.1:{bound.getsockname()[1]}/media"

    async def handle(waiting):
        await send_call(waiting, voice(0.9, 3), "pbx1-1.1", pace=0)

    async with serving(tmp_path, platforms={"asterisk": {"media_url": url}}) as served:
        asked = asyncio.ensure_future(served.http.post("/api/asterisk", data=FORM))
        await log.failed.wait()
        async with serve(handle, sock=bound, subprotocols=["media"]):
            assert (await asked).status == 202
            ended = await served.first("call.ended")
    assert (ended.call_id, ended.reason, ended.duration_s) == ("17.42", "completed", 3.0)


async def test_nobody_there_is_told_in_time(tmp_path, monkeypatch):
    """The dialplan does not wait for ever."""
    monkeypatch.setattr(asterisk_client, "CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}/media"
        async with serving(tmp_path, platforms={"asterisk": {"media_url": url}}) as served:
            answer = await served.http.post("/api/asterisk", data=FORM)
            assert answer.status == 502
            assert "cannot be reached" in (await answer.json())["error"]["message"]


async def test_the_answer_comes_while_the_call_goes_on(tmp_path):
    """And a daemon that stops hangs up the call that it went to."""
    said = []

    async def handle(waiting):
        await waiting.send(media_start("pbx1-1.1"))
        await waiting.send(bytes(640))
        with suppress(ConnectionClosed):
            said.append(await waiting.recv())

    async with serve(handle, "127.0.0.1", 0, subprotocols=["media"]) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/media"
        async with serving(tmp_path, platforms={"asterisk": {"media_url": url}}) as served:
            answer = await served.http.post("/api/asterisk", data=FORM)
            assert (answer.status, await answer.json()) == (202, {"connection_id": CONNECTION_ID})
            await served.first("call.started")
            assert len(served.services.calls) == 1
        assert served.of("call.ended")[0].reason == "shutdown"
    assert said == ['{"command": "HANGUP"}']


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 400),
        ({"connection_id": "../ari/channels"}, 400),
        ({"connection_id": "x" * 65}, 400),
        ({**FORM, **{f"field{n}": "x" for n in range(40)}}, 400),
        ({"connection_id": "unknown"}, 502),
    ],
)
async def test_what_cannot_be_connected_is_refused(tmp_path, form, status):
    """No id, one that leads elsewhere, too much said, nobody waiting."""
    async with (
        waiting_call(b"", "x") as url,
        serving(tmp_path, platforms={"asterisk": {"media_url": url}}) as served,
    ):
        assert (await served.http.post("/api/asterisk", data=form)).status == status
        assert served.events == []


async def test_nobody_sends_it_elsewhere(tmp_path):
    """A redirection is not followed, neither to another host nor on the same one."""
    async with waiting_call(b"", "x") as elsewhere:

        async def redirect(_):
            raise web.HTTPFound(f"{elsewhere.replace('ws:', 'http:')}/{CONNECTION_ID}")

        async with (
            TestServer(_app(redirect)) as server,
            serving(
                tmp_path, platforms={"asterisk": {"media_url": f"ws://127.0.0.1:{server.port}/media"}}
            ) as served,
        ):
            answer = await served.http.post("/api/asterisk", data=FORM)
            assert answer.status == 502
            assert "redirects (status 302)" in (await answer.json())["error"]["message"]
            assert served.events == []


def _app(handler):
    app = web.Application()
    app.router.add_get("/{any:.*}", handler)
    return app


async def test_it_needs_the_token(tmp_path):
    """Like every other request that changes something."""
    async with serving(tmp_path, server={"token": "0123456789abcdef"}) as served:
        assert (await served.http.post("/api/asterisk", data=FORM)).status == 401


async def test_no_answer_shows_a_password(tmp_path, monkeypatch):
    """``media_url`` may hold one."""
    monkeypatch.setattr(asterisk_client, "CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"ws://fac:hush@127.0.0.1:{bound.getsockname()[1]}/media"
        with capture_logs() as lines:
            async with serving(tmp_path, platforms={"asterisk": {"media_url": url}}) as served:
                answer = await served.http.post("/api/asterisk", data=FORM)
    assert "hush" not in await answer.text()
    assert "hush" not in str(lines)


async def drop(chunk, pause_s):
    """A body whose length nobody announced."""
    yield chunk
    await asyncio.sleep(pause_s)


@pytest.mark.parametrize(("size", "pause_s", "status"), [(MAX_BODY_BYTES + 1, 0, 413), (1, 30, 408)])
async def test_a_body_is_bounded(tmp_path, monkeypatch, size, pause_s, status):
    """In bytes and in time."""
    monkeypatch.setattr(bodies, "BODY_S", 0.3 if pause_s else 30)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with serving(tmp_path, platforms={"asterisk": {"media_url": "ws://127.0.0.1:9/media"}}) as served:
        body = drop(b"a" * size, pause_s)
        assert (await served.http.post("/api/asterisk", data=body, headers=kind)).status == status

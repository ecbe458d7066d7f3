"""RTP ports with calls behind them, for tests: on this machine, on ports that nobody else uses."""

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from fac_stream.config_systems import Rtp
from fac_stream.listeners.rtp import RtpListener
from fac_stream.server.failure import json_errors
from fac_stream.server.rtp import RtpCalls
from tests.server.serving import serving


def free_ports(count):
    """The first of ``count`` UDP ports in a row, even, that nobody uses at present."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1] & ~1
        try:
            for port in range(first, first + count):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


@asynccontextmanager
async def listening(folder, *, ingest=None, pairs=4, **settings):
    """The listener, calls behind it, and the HTTP calls beside it."""
    first = free_ports(2 * pairs)
    settings = Rtp.model_validate({"ports": (first, first + 2 * pairs - 1), **settings})
    async with serving(folder, ingest=ingest or {}) as served:
        listener = RtpListener(settings, served.services.intake)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(listener.run())
            while listener._group is None:  # noqa: ASYNC110 - nobody else waits for that
                await asyncio.sleep(0)
            try:
                yield served, listener
            finally:
                task.cancel()


@asynccontextmanager
async def http(served, listener):
    """The routes of ``/api/rtp`` on a server of their own; gives its address."""
    app = web.Application(middlewares=[json_errors])
    app.add_routes(RtpCalls(listener, served.services.intake).routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@contextmanager
def sender():
    """A UDP socket of a sender."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield udp


async def until(condition):
    """Let the loop run until it holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - counts announce no change
            await asyncio.sleep(0.01)


async def sent(udp, port, datagrams):
    """Send without pause, but not faster than they are read."""
    for datagram in datagrams:
        udp.sendto(datagram, ("127.0.0.1", port))
        await asyncio.sleep(0)

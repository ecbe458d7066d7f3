"""A cable between an emulator and the daemon that can be pulled out: TCP connections that break."""

import asyncio
import socket
import struct
from contextlib import suppress

READ_BYTES = 64 * 1024


class Cable:
    """Forwards every connection to ``address`` (``host:port``) while the block runs."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._to = host, int(port)
        self._ends = set()
        self._pumps = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.pull()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def pull(self):
        """Break all connections: both sides get a reset, and no goodbye."""
        for end in self._ends:
            plug = end.get_extra_info("socket")
            if plug is not None and plug.fileno() >= 0:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
        self._ends.clear()

    async def _join(self, reader, writer):
        to_reader, to_writer = await asyncio.open_connection(*self._to)
        self._ends |= {writer, to_writer}
        self._pumps |= {
            asyncio.ensure_future(_pump(reader, to_writer)),
            asyncio.ensure_future(_pump(to_reader, writer)),
        }


async def _pump(reader, writer):
    with suppress(ConnectionError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

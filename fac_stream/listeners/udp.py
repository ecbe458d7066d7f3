"""A UDP socket on the event loop, read by a plain callback."""

import asyncio
import socket
from collections.abc import Callable

from fac_stream.errors import FacError

MAX_DATAGRAM = 65_536
MAX_BATCH = 64
"""Datagrams in a row; then the loop does something else."""

WAITING_BYTES = 4 * 1024 * 1024
"""Of datagrams that have arrived while the loop did something else; one port may carry hundreds of calls. The
system gives no more than its own limit, on Linux ``net.core.rmem_max``."""
MAX_LAST = 1024
"""Datagrams that may have waited when the socket is closed."""

OnDatagram = Callable[[bytes, tuple[str, int]], None]


def bind(host: str, port: int) -> socket.socket:
    """A UDP socket of an address of this machine.

    Raises:
        FacError: the address is not of this machine, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        bound = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise FacError(f"{host!r} is no address of this machine: {error.strerror}") from None
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING_BYTES)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise FacError(f"UDP port {port} of {host} cannot be used: {error.strerror}") from None
    return bound


class UdpSocket:
    """Reads a bound socket while it is open."""

    def __init__(self, bound: socket.socket, on_datagram: OnDatagram) -> None:
        self._socket = bound
        self._on_datagram = on_datagram
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._read)

    def close(self) -> None:
        """Take what has arrived, and read no more."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._read(MAX_LAST)
            self._socket.close()

    def _read(self, most: int = MAX_BATCH) -> None:
        for _ in range(most):
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM)
            except OSError:
                return  # nothing waits, or nothing more can be read: the loop will say when there is
            self._on_datagram(data, (address[0], address[1]))

"""A UDP socket on the event loop, read by a plain callback."""

import asyncio
import socket
from collections.abc import Callable

from fac_stream.errors import FacError

MAX_DATAGRAM = 65_536
MAX_BATCH = 64
"""Datagrams in a row; then the loop does something else."""

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
        """Read no more; what waits is dropped."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        for _ in range(MAX_BATCH):
            try:
                data, address = self._socket.recvfrom(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return  # an ICMP message about something sent earlier; the next read goes on
            self._on_datagram(data, (address[0], address[1]))
            if self._socket.fileno() < 0:
                return

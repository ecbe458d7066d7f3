import socket
from pathlib import Path

import pytest

from fac_stream.listeners.udp import WAITING_BYTES, bind

LIMIT = Path("/proc/sys/net/core/rmem_max")
BURST = 600


@pytest.mark.skipif(
    not LIMIT.exists() or int(LIMIT.read_text()) < WAITING_BYTES,
    reason="the system gives less room than that",
)
def test_a_burst_waits_until_it_is_read():
    """Two seconds of six calls at one port are not lost where the loop is busy meanwhile."""
    with (
        bind("127.0.0.1", 0) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for number in range(BURST):
            sender.sendto(number.to_bytes(2) + bytes(650), receiver.getsockname())
        assert [int.from_bytes(receiver.recv(2)) for _ in range(BURST)] == list(range(BURST))

"""A bad line: a UDP relay that loses and delays datagrams by a seeded plan."""

import asyncio
import random


class UdpRelay(asyncio.DatagramProtocol):
    """Forwards what comes to ``address`` to ``to``, while the block runs.

    Args:
        to: ``(host, port)``.
        loss: share of the datagrams that are lost; the first two never are.
        jitter_s: each is delayed by up to this many seconds, so that they overtake each other.
        seed: the same seed loses and delays the same.
    """

    def __init__(self, to, *, loss=0.0, jitter_s=0.0, seed=1):
        self.forwarded = 0
        self.lost = 0
        self._to, self._loss, self._jitter_s = to, loss, jitter_s
        self._random = random.Random(seed)

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._inner, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._outer, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=self._to)
        self.address = self._inner.get_extra_info("sockname")
        return self

    async def __aexit__(self, *_):
        self._inner.close()
        await asyncio.sleep(self._jitter_s)
        self._outer.close()

    def datagram_received(self, data, addr):
        """Lose it, or send it on later."""
        lost, delay = self._random.random() < self._loss, self._random.random() * self._jitter_s
        if lost and self.forwarded >= 2:
            self.lost += 1
            return
        self.forwarded += 1
        asyncio.get_running_loop().call_later(delay, self._outer.sendto, data)

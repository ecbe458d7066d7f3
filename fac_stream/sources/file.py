"""A recording played into the daemon as if it were a call; its channels become legs."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

import numpy as np

from fac_stream import config
from fac_stream.audio.frames import AudioFormat, Encoding, Frame, Samples, default_legs
from fac_stream.audio.media import Media, open_media
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import SourceError

PACKET_S = 0.02
"""Sound a frame at real-time pace, as on a telephone line."""
DECODE_TIMEOUT_S = 30.0


class FileSource:
    """Yields a file's samples, once or again and again without a gap, at real-time pace or as fast as taken.

    Whoever takes the frames holds a fast reader back; nothing is ever dropped.
    """

    kind = "file"

    def __init__(self, options: config.FileSource) -> None:
        """Look at the file; blocks for as long as opening it takes.

        Raises:
            DecodeError: the file has no sound that can be read.
            SourceError: it has another number of channels than ``legs`` has names.
        """
        self._options = options
        with open_media(options.path) as media:
            self.format = _format(media, options)
        self.call_id = options.call_id or f"file-{secrets.token_hex(4)}"
        self.metadata: dict[str, Any] = {"file": options.path.name}
        self.live = options.pace == "realtime"

    async def frames(self) -> AsyncGenerator[Frame]:
        """Frames in order.

        Raises:
            DecodeError: the file broke off or cannot be read any more.
            SourceError: the file changed its format, or its disk does not answer.
        """
        rate = self.format.sample_rate
        started = time.monotonic()
        position = 0
        async with aclosing(self._blocks()) as blocks:
            async for block in blocks:
                size = max(1, round(rate * PACKET_S)) if self.live else len(block)
                for first in range(0, len(block), size):
                    packet = block[first : first + size]
                    if self.live:
                        # Due times come from the sample count, so that late wake-ups do not add up.
                        await asyncio.sleep(started + (position + len(packet)) / rate - time.monotonic())
                    yield Frame(position, np.asarray(packet, "<f4").tobytes(), time.monotonic())
                    position += len(packet)

    async def _blocks(self) -> AsyncGenerator[Samples]:
        """Decoded ``[n, channels]``; one thread decodes and closes, as a decoder must not be used by two."""
        passes = self._passes()
        thread = DaemonThread("file-source")
        try:
            while True:
                async with asyncio.timeout(DECODE_TIMEOUT_S):
                    block = await asyncio.get_running_loop().run_in_executor(thread, next, passes, None)
                if block is None:
                    return
                yield block
        except TimeoutError:
            raise SourceError(
                f"{self._options.path}: its disk gave nothing for {DECODE_TIMEOUT_S:g} s"
            ) from None
        finally:
            thread.submit(passes.close)
            thread.shutdown()

    def _passes(self) -> Generator[Samples]:
        again = True
        while again:
            with open_media(self._options.path) as media:
                if _format(media, self._options) != self.format:
                    raise SourceError(f"{self._options.path} was replaced by a file of another format")
                again = False
                for block in media.blocks():
                    yield block
                    again = self._options.repeat  # only after sound: a file without any would spin


def _format(media: Media, options: config.FileSource) -> AudioFormat:
    legs = tuple(options.legs or default_legs(media.channels))
    if len(legs) != media.channels:
        raise SourceError(
            f"{options.path} has {media.channels} channels, but legs has {len(legs)} names: {', '.join(legs)}"
        )
    return AudioFormat(media.sample_rate, Encoding.PCM_F32LE, legs)

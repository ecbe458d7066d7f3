"""Audio that a thread reads, because whatever it reads from knows no event loop: FFmpeg, a pipe, a file.

::

    thread ──push──► LiveSource ──frames()──► the call
           ◄── waits while the call is behind a recording; a live source never waits
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import structlog

from fac_stream.audio.frames import Frame
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import FacError, SourceError
from fac_stream.protocols.dialogue import Media
from fac_stream.sources.live import LiveSource

log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""From one look whether the call is over to the next, while the thread waits."""


class StoppedError(Exception):
    """The call is over: the thread has nothing left to do."""


class Reader:
    """One call's thread and the place where its audio goes."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._begun = asyncio.Event()

    async def frames(
        self, work: Callable[["Reader"], None], *, patient: bool = False
    ) -> AsyncGenerator[Frame]:
        """Frames of what ``work`` pushes, until it returns; it runs in a thread of its own.

        Args:
            work: reads and pushes; what it raises ends the frames.
            patient: wait for the first audio for as long as it takes.

        Raises:
            FacError: as ``work`` does.
            TimeoutError: nothing arrived for ``ingest.idle_timeout_s``.
        """
        thread = DaemonThread(f"{self._source.kind}-source")
        try:
            thread.submit(self._run, work)
            if patient:
                await self._begun.wait()
            async with aclosing(self._source.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._stopped.set()
            self._source.queue.close()
            thread.shutdown()

    def push(self, media: Media) -> None:
        """Hand audio over, in the thread; returns once there is room for it.

        Raises:
            StoppedError: the call is over.
            ProtocolError: see ``LiveSource.push``.
        """
        self.check()
        future = asyncio.run_coroutine_threadsafe(self._push(media), self._loop)
        while True:
            try:
                return future.result(LOOK_S)
            except concurrent.futures.TimeoutError:
                self.check()

    def reconnect(self) -> None:
        """What is pushed from now on comes over a new connection, after a gap."""
        self._tell(self._source.reconnect)

    def pause(self, seconds: float) -> None:
        """Wait, in the thread.

        Raises:
            StoppedError: the call is over.
        """
        if self._stopped.wait(seconds):
            raise StoppedError

    def check(self) -> None:
        """Go on only while the call does.

        Raises:
            StoppedError: the call is over.
        """
        self.pause(0)

    async def _push(self, media: Media) -> None:
        await self._source.push(media)
        self._begun.set()

    def _run(self, work: Callable[["Reader"], None]) -> None:
        error: FacError | None = None
        try:
            work(self)
        except StoppedError:
            return
        except FacError as fault:
            error = fault
        except Exception:  # protects the daemon and its calls from decoders and drivers
            log.exception("source failed", source=self._source.kind, call_id=self._source.call_id)
            error = SourceError("internal error; the daemon's log has the details")
        self._tell(self._end, error)

    def _end(self, error: FacError | None) -> None:
        self._begun.set()
        self._source.queue.close(error)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(call, *arguments)

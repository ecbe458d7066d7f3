"""Where connections become calls: admission, reconnection, silence, the end.

::

    connected ──push──► connected ──end──► ended: completed
        │ lose                └────fail──► ended: protocol_error
        ▼
    waiting ──open with the same call id──► connected, after a gap
        │ reconnect_s pass
        ▼
    ended: source_lost

Whoever has a connection holds a ``Session``; one that was replaced by a newer connection no longer counts.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import structlog

from fac_stream.bus import Bus
from fac_stream.calls.call import Call
from fac_stream.calls.registry import Calls
from fac_stream.config import Ingest
from fac_stream.errors import FacError, ProtocolError, RefusedError, SourceError
from fac_stream.events import AnyEvent, CallEnded, HealthChanged
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.sources.live import LiveSource, same_stream

log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""From one look for silent and endless calls to the next."""
CLOCK_GRACE_S = 30.0
"""How much longer than its audio may last a call may last."""
STALLED_S = 2.0
"""A connection that sent nothing for so long may be replaced: its end may not have been noticed yet."""

NEWS_S = 1.0
"""A new connection may be quicker than the news that the old one is lost: it waits so long for that."""

OnEvent = Callable[[AnyEvent], None]


class Session:
    """One connection's hold on a call."""

    def __init__(self, call: "_OpenCall", *, resumed: bool) -> None:
        self.resumed = resumed
        """Whether it continues a call whose connection was lost."""
        self._call = call
        self._outcome: asyncio.Future[CallEnded | None] = asyncio.get_running_loop().create_future()

    @property
    def call_id(self) -> str:
        """Of the call."""
        return self._call.source.call_id

    async def push(self, media: Media) -> None:
        """Take audio; waits while the queue is full and the sender ahead of real time.

        Raises:
            ProtocolError: see ``LiveSource.push``.
        """
        if self._holds:
            await self._call.source.push(media)

    def push_nowait(self, media: Media) -> None:
        """Take audio, in place of the oldest where there is no room.

        Raises:
            ProtocolError: see ``LiveSource.push``.
        """
        if self._holds:
            self._call.source.push_nowait(media)

    def end(self) -> None:
        """The call is complete."""
        if self._holds:
            self._call.close(None)

    def fail(self, error: FacError) -> None:
        """The peer broke its protocol: the call ends with that."""
        if self._holds:
            self._call.close(error)

    def lose(self, reason: str) -> None:
        """The connection is gone without goodbye: the call waits for another, if it may."""
        if self._holds and not self._call.running.done():
            self._call.wait(SourceError(reason))

    async def ended(self) -> CallEnded | None:
        """Wait until the call is over; None where the daemon stops, or another connection took it over."""
        return await asyncio.shield(self._outcome)

    def settle(self, ended: CallEnded | None) -> None:
        """Tell who waits for the end; the first time counts."""
        if not self._outcome.done():
            self._outcome.set_result(ended)

    def listen(self, on_event: OnEvent) -> None:
        """Call back with every event of this call, until another connection takes it over."""
        if self._holds:
            self._call.listener = on_event

    @property
    def _holds(self) -> bool:
        return self._call.holder is self


class _OpenCall:
    """A call, and which connection it belongs to."""

    running: asyncio.Task[CallEnded]

    def __init__(self, source: LiveSource, call: Call, limits: Ingest, *, resumable: bool) -> None:
        self.source = source
        self.call = call
        self.resumable = resumable
        self.opened_at = time.monotonic()
        self.connected = True
        self.closed = False
        self.silent = False
        self.listener: OnEvent | None = None
        self.vacant = asyncio.Event()
        """Set while no connection has it."""
        self.holder = Session(self, resumed=False)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None

    @property
    def quiet_s(self) -> float:
        """Seconds since a connection that may send audio last did; 0 while it has to wait for us."""
        if not self.connected or self.source.queue.full or self.source.on_hold:
            return 0.0
        return time.monotonic() - self.source.heard_at

    def close(self, error: FacError | None) -> None:
        self.closed = True
        self._stop_waiting()
        self.source.queue.close(error)

    def wait(self, error: SourceError) -> None:
        if not self.resumable or not self._limits.reconnect_s:
            self.close(error)
            return
        self.connected = False
        self.vacant.set()
        loop = asyncio.get_running_loop()
        self._stop_waiting()
        self._timer = loop.call_later(self._limits.reconnect_s, self.close, error)
        log.info("connection lost", call_id=self.source.call_id, waits_s=self._limits.reconnect_s)

    def continues(self, kind: str, start: Start) -> bool:
        """Whether a new connection may go on with this call."""
        return (
            self.resumable
            and not self.closed
            and not self.running.done()
            and (not self.connected or self.quiet_s > STALLED_S)
            and kind == self.source.kind
            and same_stream(start.format, self.source.format)
        )

    def take_over(self) -> Session:
        self._stop_waiting()
        self.holder.settle(None)
        self.connected, self.listener = True, None
        self.vacant.clear()
        self.source.reconnect()
        self.source.heard_at = time.monotonic()
        self.holder = Session(self, resumed=True)
        log.info("call goes on with a new connection", call_id=self.source.call_id)
        return self.holder

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Intake:
    """All calls that connections bring."""

    def __init__(self, limits: Ingest, calls: Calls, bus: Bus) -> None:
        self._limits = limits
        self._calls = calls
        self._bus = bus
        self._open: dict[str, _OpenCall] = {}
        self._group: asyncio.TaskGroup | None = None
        bus.listen(self._on_event)

    @property
    def problems(self) -> list[str]:
        """Calls that bring no audio, in words."""
        silent = [name for name, call in self._open.items() if call.silent]
        return [f"call {name}: connected, but no audio arrives" for name in silent]

    async def run(self) -> None:
        """Run the calls until cancelled; they then end with reason ``shutdown``."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while True:
                    await asyncio.sleep(LOOK_S)
                    for call in list(self._open.values()):
                        self._look_at(call)
            finally:
                self._group = None

    async def vacated(self, call_id: str | None) -> None:
        """Wait a moment, where a call with this id has a connection, for that to be lost or to end."""
        if call_id is not None and (known := self._open.get(call_id)):
            with suppress(TimeoutError):
                async with asyncio.timeout(NEWS_S):
                    await known.vacant.wait()

    def open(self, kind: str, start: Start, *, resumable: bool = True) -> Session:
        """Admit a call, or continue one whose connection was lost.

        Args:
            kind: name of the protocol; the call's source.
            start: what the peer said.
            resumable: whether the call waits for another connection when this one is lost.

        Raises:
            RefusedError: no more calls are taken, or the daemon is starting or stopping.
            ConflictError: a call with this id is going on.
        """
        if self._group is None:
            raise RefusedError("the daemon is stopping")
        known = self._open.get(start.call_id) if start.call_id else None
        if known and known.continues(kind, start):
            return known.take_over()
        call_id = start.call_id or f"{kind}-{uuid.uuid4().hex[:12]}"
        source = LiveSource(kind, call_id, start, self._limits)
        call = _OpenCall(
            source, self._calls.admit(source), self._limits, resumable=resumable and start.call_id is not None
        )
        self._open[call_id] = call
        call.running = self._group.create_task(self._calls.run(call.call, source))
        call.running.add_done_callback(lambda _: self._forget(call))
        return call.holder

    async def stop(self) -> None:
        """End the calls that are going on, with reason ``shutdown``."""
        running = [call.running for call in self._open.values()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _forget(self, call: _OpenCall) -> None:
        call.close(None)
        call.vacant.set()
        call.holder.settle(None if call.running.cancelled() else call.running.result())
        self._calls.release(call.call)  # a task that was cancelled before it began has not done so
        if self._open.get(call.source.call_id) is call:
            del self._open[call.source.call_id]

    def _on_event(self, event: AnyEvent) -> None:
        call = self._open.get(event.call_id) if event.call_id else None
        if call and call.listener:
            call.listener(event)

    def _look_at(self, call: _OpenCall) -> None:
        if call.closed:
            return
        if time.monotonic() - call.opened_at > self._limits.max_duration_s + CLOCK_GRACE_S:
            call.close(ProtocolError("open for longer than ingest.max_duration_s allows"))
        silent = call.quiet_s > self._limits.no_media_s
        if silent != call.silent:
            call.silent = silent
            detail = f"no audio for {self._limits.no_media_s:g} s" if silent else "audio arrives again"
            log.warning("source health", call_id=call.source.call_id, detail=detail)
            self._bus.publish(
                HealthChanged(
                    call_id=call.source.call_id, status="no_media" if silent else "ok", detail=detail
                )
            )

"""Calls that this machine starts by itself: the sources of the configuration."""

import asyncio
from collections.abc import Callable

import structlog

from fac_stream.calls.registry import Calls
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import FacError
from fac_stream.events import CallEnded, EndReason
from fac_stream.sources.base import Source

log = structlog.get_logger(__name__)

OPEN_TIMEOUT_S = 30.0
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0


class LocalSource:
    """Keeps one configured source running: a lost device is tried again, with growing pauses."""

    def __init__(self, name: str, make: Callable[[], Source], calls: Calls, *, endless: bool) -> None:
        """``endless`` sources, such as microphones, begin a new call when theirs reached its longest."""
        self.name = name
        self.problem: str | None = "starting"
        """Why it is not running, in words; None while it runs, or once it completed."""
        self._make = make
        self._calls = calls
        self._endless = endless

    async def run(self) -> None:
        """Run call after call until the source completes; returns then."""
        pause_s = FIRST_PAUSE_S
        while True:
            ended = await self._run_call()
            if ended is not None:
                if ended.reason is EndReason.TOO_LONG and self._endless:
                    continue
                if ended.reason in (EndReason.COMPLETED, EndReason.TOO_LONG, EndReason.PROTOCOL_ERROR):
                    self.problem = ended.detail
                    return
                if ended.duration_s > 0:
                    pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def _run_call(self) -> CallEnded | None:
        """One call; None where none could be started."""
        # Not the loop's own threads: those are waited for at the end, and a dead disk never answers.
        thread = DaemonThread("opening")
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                source = await asyncio.get_running_loop().run_in_executor(thread, self._make)
            call = self._calls.admit(source)
        except FacError as error:
            self._report(str(error))
            return None
        except TimeoutError:
            self._report(f"it did not open within {OPEN_TIMEOUT_S:g} s")
            return None
        except Exception:  # protects the daemon and its calls from sound systems and their drivers
            log.exception("source failed to open", source=self.name)
            self._report("internal error; the daemon's log has the details")
            return None
        finally:
            thread.shutdown()
        self.problem = None
        ended = await self._calls.run(call, source)
        if ended.detail:
            self._report(ended.detail)
        return ended

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("source is not running", source=self.name, problem=problem)
        self.problem = problem

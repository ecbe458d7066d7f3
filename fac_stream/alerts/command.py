"""A program of this machine as a hook: it is started for each message, and success is exit status 0.

No shell, a time limit, the body on standard input, the fields in ``FAC_ALERT_*``, nothing else of the
daemon's environment. It gets a process group of its own, which is killed at the end: what it started does not
outlive it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import FileIO

from fac_stream.alerts.message import Attempt, Message, Outcome
from fac_stream.alerts.template import fields, rendered
from fac_stream.config_hooks import Command

MAX_OUTPUT = 4096
MAX_SAID = 120
END_S = 5.0
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


async def run(hook: Command, message: Message) -> Attempt:
    """Try once. Never raises for what the program does; cancelling it kills the program."""
    about = fields(message) | {"message": rendered(hook.message, message)}
    environment = {f"FAC_ALERT_{name.removeprefix('alert_').upper()}": text for name, text in about.items()}
    async with _output() as (output, writing_end):
        try:
            process = await asyncio.create_subprocess_exec(
                *hook.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=writing_end,
                stderr=writing_end,
                env=ENVIRONMENT | environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            return Attempt(Outcome.RETRY, f"cannot be started: {error.strerror or error}")
        writing_end.close()
        status = await _status(process, message.body, hook.timeout_s)
        if status is None:
            return Attempt(Outcome.RETRY, f"did not end within {hook.timeout_s:g} s, and was killed")
        if status == 0:
            return Attempt(Outcome.DELIVERED, "exit status 0")
        said = await output.last_line()
    how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
    return Attempt(Outcome.RETRY, f"{how}: {said}" if said else how)


async def _status(process: asyncio.subprocess.Process, body: bytes, timeout_s: float) -> int | None:
    """The exit status; None where the time ran out. Nothing of the group lives on."""
    stdin = process.stdin
    assert stdin is not None  # noqa: S101 - a pipe was asked for
    status = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                stdin.write(body)
                with suppress(ConnectionError):  # a program need not read it
                    await stdin.drain()
                stdin.close()
                status = await process.wait()
    finally:
        stdin.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        # Also where this was cancelled: a process that nobody waited for leaves its pipes behind.
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):  # one that hangs in the kernel is left to it
                await process.wait()
    return status


class _Output(asyncio.Protocol):
    """What a program says: the beginning of it; the rest is read and forgotten, so that it is not held up."""

    def __init__(self) -> None:
        self._kept = b""
        self._ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._kept = (self._kept + data)[:MAX_OUTPUT]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class's signature
        """Called by the loop."""
        self._ended.set()

    async def last_line(self) -> str:
        """The last line that is not empty, printable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):  # one that left the group may hold the pipe
                await self._ended.wait()
        lines = self._kept.decode(errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return "".join(it if it.isprintable() else "?" for it in last)[:MAX_SAID]


@asynccontextmanager
async def _output() -> AsyncIterator[tuple[_Output, FileIO]]:
    """A pipe for a program: its output, and the end that it writes to."""
    reading_end, writing_end = os.pipe()
    output = _Output()
    with FileIO(writing_end, "wb") as writing, FileIO(reading_end, "rb") as reading:
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, reading)
        try:
            yield output, writing
        finally:
            pipe.close()

"""A microphone of this machine, or the monitor of what its speakers play.

A child process records: ``parec`` from a PulseAudio or PipeWire server, the PortAudio program anything else.
Both write ``pcm_s16le`` of one channel::

    parec | portaudio.py ──stdout──► Recorder ──► FrameQueue ──► frames()
                         ──stderr──► "overflow": a gap; anything else: why it ended

A device that falls silent, is unplugged or hangs ends the source; nothing of it can stop the daemon.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from fac_stream import config
from fac_stream.audio.frames import AudioFormat, Encoding, Frame
from fac_stream.errors import SourceError
from fac_stream.sources.devices import Device, list_devices, portaudio_command
from fac_stream.sources.portaudio import OVERFLOW
from fac_stream.sources.queue import FrameQueue

STALL_S = 5.0
"""A running device sends sound many times a second, also when it is quiet."""
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 2.0
LATENCY_MS = 20
MAX_COMPLAINT_BYTES = 4096
STDOUT, STDERR = 1, 2


class MicrophoneSource:
    """Records one channel of a device until it is lost; a slow reader loses the oldest sound."""

    kind = "microphone"
    live = True

    def __init__(self, options: config.MicrophoneSource, *, queue_s: float = 5.0) -> None:
        """Find the device as the machine is now; blocks for as long as the sound system takes to answer.

        Raises:
            SourceError: there is no such device, or no microphone at all.
        """
        self.device = list_devices().choose(options.device)
        self.format = AudioFormat(self.device.sample_rate, Encoding.PCM_S16LE, (options.leg,))
        self.call_id = options.call_id or f"microphone-{secrets.token_hex(4)}"
        self.metadata: dict[str, Any] = {"device": self.device.name}
        self._queue_s = queue_s

    async def frames(self) -> AsyncGenerator[Frame]:
        """Frames in order; a gap where the device or the reader lost sound.

        Raises:
            SourceError: the device cannot be opened, or was lost.
        """
        queue = FrameQueue(self.format, self._queue_s)
        recorder = Recorder(queue, self.format, self.device.name)
        transport = await self._start(recorder)
        try:
            async for frame in queue.frames(STALL_S):
                yield frame
        except TimeoutError:
            raise SourceError(f"no sound came from {self.device.name!r} for {STALL_S:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                transport.kill()
            transport.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await recorder.ended.wait()

    async def _start(self, recorder: "Recorder") -> asyncio.SubprocessTransport:
        command = record_command(self.device)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                transport, _ = await asyncio.get_running_loop().subprocess_exec(
                    lambda: recorder, *command, stdin=asyncio.subprocess.DEVNULL
                )
        except (OSError, TimeoutError) as error:
            raise SourceError(
                f"cannot start {command[0]!r} to record {self.device.name!r}: {error}"
            ) from None
        return transport


def record_command(device: Device) -> tuple[str, ...]:
    """The program that records a device: ``pcm_s16le``, its own rate, one channel, raw on stdout."""
    if device.backend == "portaudio":
        return portaudio_command("record", device.name)
    return (
        "parec",
        f"--device={device.name}",
        "--format=s16le",
        f"--rate={device.sample_rate}",
        "--channels=1",
        f"--latency-msec={LATENCY_MS}",
        "--client-name=fac-stream",
        "--raw",
    )


class Recorder(asyncio.SubprocessProtocol):
    """Makes frames of what a recording program writes, and gaps of what it says it lost."""

    def __init__(
        self,
        queue: FrameQueue,
        audio_format: AudioFormat,
        name: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ended = asyncio.Event()
        self._queue = queue
        self._format = audio_format
        self._name = name
        self._now = now
        self._rest = b""
        self._complaint = b""
        self._next_sample = 0
        self._started_at: float | None = None

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take in sound or a complaint as it comes."""
        if fd == STDERR:
            self._listen(data)
        elif fd == STDOUT:
            self._record(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The program ended and all it wrote has been taken in: the reader hears why."""
        lines = self._complaint.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "the recording program ended"
        self._queue.close(SourceError(f"{self._name!r} cannot be recorded: {reason}"))
        self.ended.set()

    def _record(self, data: bytes) -> None:
        now = self._now()
        data = self._rest + data
        width = self._format.frame_width
        samples = len(data) // width
        self._rest = data[samples * width :]
        if not samples:
            return
        if self._started_at is None:
            self._started_at = now - samples / self._format.sample_rate
        self._queue.put_nowait(Frame(self._next_sample, data[: samples * width], now))
        self._next_sample += samples

    def _listen(self, data: bytes) -> None:
        lines = (self._complaint + data).splitlines(keepends=True)
        for _ in range(lines.count(OVERFLOW)):
            self._skip()
        self._complaint = b"".join(line for line in lines if line != OVERFLOW)[-MAX_COMPLAINT_BYTES:]

    def _skip(self) -> None:
        """Leave a gap as long as the clock says; one sample at least, so that no window crosses it."""
        elapsed_s = self._now() - (self._started_at if self._started_at is not None else self._now())
        expected = round(elapsed_s * self._format.sample_rate)
        self._next_sample = max(self._next_sample + 1, expected)

"""Raw PCM over TCP: every connection is a call, from its first byte to its end.

::

    accepted ──first byte──► Session ──bytes──► the call
        └── not allowed, silent, too many: closed

Only the sender says anything here: rate, encoding and legs are those of the configuration. One that is ahead
of real time is read as fast as its recording is scored.
"""

import asyncio
from contextlib import suppress

import structlog

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.calls.intake import Intake, Session
from fac_stream.config_systems import PcmTcp
from fac_stream.errors import ConflictError, ProtocolError, RefusedError
from fac_stream.listeners.door import Door, cannot_listen, joined
from fac_stream.protocols.dialogue import Start
from fac_stream.protocols.untimed import UntimedAudio

log = structlog.get_logger(__name__)

READ_BYTES = 16 * 1024
FIRST_BYTE_S = 10.0
CLOSE_S = 5.0


class TcpListener:
    """The port.

    Args:
        settings: ``listeners.tcp``.
        intake: where calls are admitted.
    """

    def __init__(self, settings: PcmTcp, intake: Intake) -> None:
        self.address: str | None = None
        """Host and port, once it listens."""
        self.problem: str | None = None
        self._settings = settings
        self._format = AudioFormat(settings.sample_rate, Encoding(settings.encoding), settings.legs)
        self._intake = intake
        self._door = Door("tcp", settings)

    async def run(self) -> None:
        """Serve until cancelled; the calls that are going on are ended by who runs them.

        Raises:
            FacError: the port cannot be listened on.
        """
        host, port = self._settings.host, self._settings.port
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                address = str((writer.get_extra_info("peername") or [""])[0])  # empty: gone already
                if self._door.enter(address):
                    group.create_task(self._serve(reader, writer, address))
                else:
                    writer.transport.abort()

            try:
                server = await asyncio.start_server(accept, host, port, limit=READ_BYTES)
            except OSError as error:
                raise cannot_listen("tcp", host, port, error.strerror) from None
            self.address = joined(*server.sockets[0].getsockname()[:2])
            log.info("listening for PCM", address=self.address)
            try:
                await asyncio.Event().wait()
            finally:
                server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        """One connection; its errors end it and no other."""
        try:
            data = await self._first_bytes(reader)
            if data:
                start = Start(self._format, metadata={"address": address})
                session = self._intake.open("tcp", start, resumable=False)
                await self._follow(session, reader, data)
        except (RefusedError, ConflictError) as error:
            log.warning("call refused", listener="tcp", address=address, detail=str(error))
        except OSError:
            pass  # gone, or silent, before it was a call
        except Exception:
            log.exception("connection failed", listener="tcp", address=address)
        finally:
            self._door.leave(address)
            writer.close()
            with suppress(OSError):
                async with asyncio.timeout(CLOSE_S):
                    await writer.wait_closed()

    async def _first_bytes(self, reader: asyncio.StreamReader) -> bytes:
        """What a probe of the port never sends, so that probes are no calls."""
        with self._door.waiting():
            async with asyncio.timeout(FIRST_BYTE_S):
                return await reader.read(READ_BYTES)

    async def _follow(self, session: Session, reader: asyncio.StreamReader, data: bytes) -> None:
        """Until the connection or the call is over, whichever comes first."""
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(session, reader, data))
            await session.ended()
            reading.cancel()

    async def _read(self, session: Session, reader: asyncio.StreamReader, data: bytes) -> None:
        audio = UntimedAudio(self._format.sample_rate, self._format.frame_width)
        try:
            while data:
                for media in audio.push(data):
                    await session.push(media)
                data = await reader.read(READ_BYTES)  # bounded by the call's own idle time
            for media in audio.end():
                await session.push(media)
        except ProtocolError as error:
            session.fail(error)
        except OSError:  # a network that went away says so by others than ConnectionError
            session.lose("the connection was lost")
        else:
            session.end()

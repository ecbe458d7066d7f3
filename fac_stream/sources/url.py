"""Anything that FFmpeg opens: RTSP cameras, HTTP and Icecast streams, RTP by an SDP file, sound devices.

::

    open ──► packets ──► samples, placed by their timestamps ──► the call
     ▲  lost: end of a stream without length, error, silence        ▲
     └──── back-off, up to ingest.reconnect_s ──────────────────────┘ after a gap

What the other side sends may be hostile, though its address is ours: only the configuration and the command
line name one. FFmpeg opens a file for it only where the address itself is a file, and reads only formats that
carry sound over networks. Addresses hold passwords, so no message, event or log line shows a whole one.
"""

import re
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import av
import numpy as np
import structlog

from fac_stream import config, config_systems
from fac_stream.audio.frames import AudioFormat, Encoding, Frame, default_legs
from fac_stream.audio.media import FORMATS, MAX_CHANNELS, MAX_RATE, MIN_RATE
from fac_stream.errors import SourceError
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.protocols.timestamps import Timestamps
from fac_stream.sources.live import LiveSource
from fac_stream.sources.reader import Reader

log = structlog.get_logger(__name__)

OPEN_S = 10.0
READ_S = 10.0
"""Limits of one step of FFmpeg's."""
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 5.0
BAD_PACKETS = 100
"""So many in a row that cannot be decoded are no damage any more."""
_STREAMING = f"{FORMATS},hls,rtp,rtsp,sdp"
_FROM_FILES = "file,rtp,srtp,udp,crypto,data"
_FROM_NETWORK = "rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto,data"


class UrlSource:
    """One call; goes on under the same id when the stream is lost and comes back in time."""

    kind = "url"

    def __init__(self, options: config_systems.UrlSource, limits: config.Ingest) -> None:
        """Open the address; blocks for at most twice ``OPEN_S``.

        Raises:
            SourceError: nothing with sound can be opened there, or it does not fit ``legs``.
        """
        self._options = options
        self._reconnect_s = limits.reconnect_s
        self._stream = Stream(options)
        self.format = self._stream.format
        self.call_id = options.call_id or f"url-{secrets.token_hex(4)}"
        self.metadata: dict[str, Any] = {"url": self._stream.name}
        self._live = LiveSource(self.kind, self.call_id, Start(self.format, self.call_id), limits)

    @property
    def live(self) -> bool:
        """False while more comes than can be spoken: a recording."""
        return self._live.live

    def frames(self) -> AsyncGenerator[Frame]:
        """Frames in order; a gap for each stretch without connection.

        Raises:
            SourceError: the stream was lost and did not come back in time, or in another format.
            TimeoutError: nothing came for ``ingest.idle_timeout_s``.
        """
        return Reader(self._live).frames(self._read)

    def _read(self, reader: Reader) -> None:
        stream = self._stream
        try:
            while error := _play(stream, reader):
                if stream.finite:
                    raise error  # from the start again would be another call
                stream.close()
                stream = self._reopen(reader, error)
                reader.reconnect()
        finally:
            stream.close()

    def _reopen(self, reader: Reader, error: SourceError) -> "Stream":
        """The stream again, within ``ingest.reconnect_s``."""
        until = time.monotonic() + self._reconnect_s
        pause_s = FIRST_PAUSE_S
        log.info("stream lost", call_id=self.call_id, detail=str(error))
        while time.monotonic() + pause_s <= until:
            reader.pause(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            try:
                stream = Stream(self._options)
            except SourceError as fault:
                error = fault
                continue
            if stream.format == self.format:
                log.info("stream is back", call_id=self.call_id)
                return stream
            stream.close()
            raise SourceError(f"{stream.name}: came back with another sample rate or number of channels")
        raise error


class Stream:
    """One connection, and the decoder of its first sound track; belongs to one thread at a time."""

    def __init__(self, options: config_systems.UrlSource) -> None:
        """Connect, and decode the first packet with sound.

        Raises:
            SourceError: see ``UrlSource``.
        """
        self.name = public(options.url.get_secret_value())
        self._container = self._open(options)
        try:
            self._frames = self._decode()
            self._first = self._first_frame()
            self.format = self._format_of(self._first, options)
            self.finite = (self._container.duration or 0) > 0
            """Whether its length is known, so that its end is one."""
        except BaseException:
            self.close()
            raise

    def media(self) -> Iterator[Media]:
        """Samples, placed by their timestamps; to be iterated once.

        Raises:
            SourceError: the connection was lost, the sound changes its format, or a stream ends that
                declared no length: then nobody can say that it is complete.
        """
        rate, width = self.format.sample_rate, self.format.frame_width
        timestamps = Timestamps(rate)
        converter = av.AudioResampler(format="flt")
        frame: Any = self._first
        while frame is not None:
            data = self._convert(converter, frame)
            place = timestamps.place(_stamp(frame, rate), len(data) // width)
            if place.fill:
                yield Media(bytes(place.fill * width), at=place.at - place.fill, concealed=True)
            if data:
                yield Media(data, at=place.at)
            frame = next(self._frames, None)
        if not self.finite:
            raise SourceError(f"{self.name}: the stream ended")

    def close(self) -> None:
        """Disconnect."""
        self._container.close()

    def _open(self, options: config_systems.UrlSource) -> Any:
        url = options.url.get_secret_value()
        settings = {"rtsp_flags": "prefer_tcp", "protocol_whitelist": _protocols(url)}
        if options.format is None:
            settings["format_whitelist"] = _STREAMING
        settings |= {name: value.get_secret_value() for name, value in options.options.items()}
        try:
            container = av.open(
                url,
                mode="r",
                format=options.format,
                options=settings,
                timeout=(OPEN_S, READ_S),
                metadata_errors="replace",
            )
        except (av.FFmpegError, EOFError, OSError, ValueError) as error:
            raise SourceError(f"{self.name}: cannot be opened: {_words(error)}") from None
        if not container.streams.audio:
            container.close()
            raise SourceError(f"{self.name}: has no sound")
        return container

    def _decode(self) -> Iterator[Any]:
        """Decoded frames; damaged packets are passed over, as players do."""
        packets = self._container.demux(self._container.streams.audio[0])
        damaged = 0
        while True:
            try:
                packet = next(packets, None)
            except EOFError:
                return
            except (av.FFmpegError, OSError) as error:
                raise SourceError(f"{self.name}: {_words(error)}") from None
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                damaged += 1
                if damaged > BAD_PACKETS:
                    raise SourceError(f"{self.name}: cannot be decoded: {_words(error)}") from None
                continue
            for frame in frames:
                if frame.samples:
                    damaged = 0
                    yield frame

    def _first_frame(self) -> Any:
        frame = next(self._frames, None)
        if frame is None:
            raise SourceError(f"{self.name}: it ended before any sound came")
        return frame

    def _format_of(self, frame: Any, options: config_systems.UrlSource) -> AudioFormat:
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if not MIN_RATE <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
            raise SourceError(f"{self.name}: {rate} Hz and {channels} channels cannot be taken")
        legs = tuple(options.legs or default_legs(channels))
        if len(legs) != channels:
            raise SourceError(
                f"{self.name} has {channels} channels, but legs has {len(legs)} names: {', '.join(legs)}"
            )
        return AudioFormat(rate, Encoding.PCM_F32LE, legs)

    def _convert(self, converter: Any, frame: Any) -> bytes:
        if (frame.sample_rate, frame.layout.nb_channels) != (self.format.sample_rate, len(self.format.legs)):
            raise SourceError(f"{self.name}: its sample rate or number of channels changed")
        try:
            parts = [part.to_ndarray() for part in converter.resample(frame)]
        except ValueError as error:  # FFmpeg's errors are ValueErrors, too
            raise SourceError(f"{self.name}: its sample format changed: {_words(error)}") from None
        return b"".join(np.asarray(part, "<f4").tobytes() for part in parts)


def _play(stream: Stream, reader: Reader) -> SourceError | None:
    """Push a stream to its end; returns why it was lost, or None where it is complete."""
    try:
        for media in stream.media():
            reader.push(media)
    except SourceError as error:
        return error
    return None


def public(url: str) -> str:
    """What may be shown of an address: no user, no password, no query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return re.split("[?#]", url)[0]
    # Passwords may hold any of the signs that end one: so the last @ comes first.
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def _protocols(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return f"{scheme.lower()},{_FROM_NETWORK}" if separator and scheme.lower() != "file" else _FROM_FILES


def _stamp(frame: Any, rate: int) -> float | None:
    """When a frame begins, in samples on its sender's timeline."""
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base * rate)


def _words(error: Exception) -> str:
    """What went wrong, without the address that FFmpeg's errors repeat."""
    if isinstance(error, av.error.ExitError):
        return f"no answer within {READ_S:g} s"
    return getattr(error, "strerror", None) or type(error).__name__

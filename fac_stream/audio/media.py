"""Recorded sound: whatever FFmpeg decodes, as blocks of samples at the file's own rate.

The file comes from a stranger. FFmpeg also reads playlists and session descriptions that name other files
and hosts: it may open none of them (``protocol_whitelist``) and sees only the bytes handed to it. Rate and
channels are those of the decoded sound, never those a header declares; they and the duration are bounded.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import numpy as np

from fac_stream.audio.frames import Samples
from fac_stream.errors import AudioError, DecodeError, NoAudioError

MIN_RATE = 4_000
MAX_RATE = 192_000
"""Hertz."""
MAX_CHANNELS = 8
MAX_DURATION_S = 6 * 3600
FORMATS = "wav,w64,aiff,au,caf,mp3,aac,flac,ogg,mov,matroska,asf,avi,amr,wv,mpegts,flv,ac3"
"""Demuxers that may read. Others, made for game consoles and old toys, take nearly any bytes for sound."""
_OPTIONS = {"protocol_whitelist": "none", "format_whitelist": FORMATS}


def open_media(source: Path | BinaryIO) -> "Media":
    """Open a sound file, or the sound of a video; use it as a context manager.

    Args:
        source: a path, or a seekable binary file, which is left open.

    Raises:
        DecodeError: the file cannot be read, or holds no sound that can be decoded.
        AudioError: its rate or its number of channels is out of bounds.
    """
    return Media(source)


class Media:
    """One decoder, positioned at the start; ``blocks`` may be iterated once."""

    sample_rate: int
    """Hertz."""
    channels: int
    duration_s: float | None
    """As the container declares it; None where it does not."""

    def __init__(self, source: Path | BinaryIO) -> None:
        self._name = str(source) if isinstance(source, Path) else "the audio"
        self._file, self._owned = _open(source)
        try:
            self._container = _demuxer(self._file, self._name)
        except BaseException:
            self._close_file()
            raise
        try:
            self._frames = self._decode()
            self._first = self._first_frame()
            self.sample_rate, self.channels = self._first.sample_rate, self._first.layout.nb_channels
            self.duration_s = self._declared_duration()
            self._check_bounds()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the decoder; a file that the caller opened stays open."""
        self._container.close()
        self._close_file()

    def blocks(self) -> Iterator[Samples]:
        """Float32 ``[n, channels]``, about a second each, full scale at ±1.

        A file that was cut off yields what is left of it.

        Raises:
            DecodeError: rate or channels change half-way.
            AudioError: it is longer than ``MAX_DURATION_S``.
        """
        converter = av.AudioResampler(format="flt")
        pending: list[Samples] = []
        held = total = 0
        frame: Any = self._first
        while frame is not None:
            samples = self._convert(converter, frame)
            pending.append(samples)
            held += len(samples)
            total += len(samples)
            if total > MAX_DURATION_S * self.sample_rate:
                raise AudioError(
                    f"{self._name}: longer than {MAX_DURATION_S // 3600} hours: cut it into pieces"
                )
            if held >= self.sample_rate:
                yield np.concatenate(pending)
                pending, held = [], 0
            frame = next(self._frames, None)
        if held:
            yield np.concatenate(pending)

    def _convert(self, converter: Any, frame: Any) -> Samples:
        if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.channels):
            raise DecodeError(f"{self._name}: its sample rate or number of channels changes half-way")
        try:
            parts = [part.to_ndarray().reshape(-1, self.channels) for part in converter.resample(frame)]
        except ValueError as error:  # FFmpeg's errors are ValueErrors, too
            raise DecodeError(f"{self._name}: its sample format changes half-way: {error}") from None
        return np.concatenate(parts) if parts else np.empty((0, self.channels), np.float32)

    def _decode(self) -> Iterator[Any]:
        """Frames of the first sound track. Damaged packets are passed over, as players do."""
        packets = self._container.demux(self._container.streams.audio[0])
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, EOFError):
                return  # cut off: what came before stands
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            yield from (frame for frame in frames if frame.samples)

    def _first_frame(self) -> Any:
        frame = next(self._frames, None)
        if frame is None:
            raise NoAudioError(f"{self._name}: nothing in it can be decoded: it is empty, cut off or damaged")
        return frame

    def _declared_duration(self) -> float | None:
        duration = self._container.duration
        return duration / 1_000_000 if duration is not None and duration > 0 else None

    def _check_bounds(self) -> None:
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise AudioError(
                f"{self._name}: {self.sample_rate} Hz; rates from {MIN_RATE} to {MAX_RATE} Hz can be read"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(f"{self._name}: {self.channels} channels; at most {MAX_CHANNELS} can be read")

    def _close_file(self) -> None:
        if self._owned:
            self._file.close()


def _open(source: Path | BinaryIO) -> tuple[BinaryIO, bool]:
    if not isinstance(source, Path):
        return source, False
    try:
        mode = source.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            # Opening a pipe waits for its writer, for ever.
            raise DecodeError(f"{source}: cannot be read: it is no regular file; save the sound as one")
        return source.open("rb"), True
    except OSError as error:
        raise DecodeError(f"{source}: cannot be read: {error.strerror}") from None


def _demuxer(file: BinaryIO, name: str) -> Any:
    try:
        container = av.open(file, mode="r", options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, EOFError, OSError):
        raise DecodeError(f"{name}: no format that can be decoded (WAV, MP3, OGG, FLAC, M4A … can)") from None
    if not container.streams.audio:
        container.close()
        raise NoAudioError(f"{name}: has no sound track")
    return container

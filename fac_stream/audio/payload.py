"""RTP payloads to samples, and what to play where one is missing.

Of one stream of one codec: G.722 and Opus have a memory of what came before. G.711 and L16 by table and
view, G.722 and Opus by FFmpeg. Formats: RFC 3551, section 4.5 (G.711, G.722, L16), RFC 7587 and RFC 6716,
section 3.1 (Opus).
"""

from collections.abc import Sequence
from typing import Any

import av
import numpy as np

from fac_stream.audio.codec import G722, L16, OPUS, PCMU, Codec
from fac_stream.audio.codecs import decode
from fac_stream.audio.frames import Encoding, Samples
from fac_stream.errors import AudioError, DecodeError

MAX_PACKET_MS = 1000
"""No real sender puts more into a packet; a UDP datagram could."""
_OPUS_MAX_MS = 120
_SILK_MS, _HYBRID_MS, _CELT_MS = (10, 20, 40, 60), (10, 20), (2.5, 5, 10, 20)
_FFMPEG = {G722: ("g722", "mono"), OPUS: ("libopus", "mono")}


def duration(codec: Codec, payload: bytes) -> int:
    """How long a payload lasts, in ticks of the codec's clock.

    Raises:
        DecodeError: it is empty, cut off, too long, or no payload of this codec.
    """
    if codec.name == OPUS:
        return _opus_duration(payload)
    ticks, rest = divmod(len(payload), 2 * codec.channels if codec.name == L16 else 1)
    if not ticks or rest:
        raise DecodeError(f"a payload of {len(payload)} bytes is no {codec.name}")
    if ticks * 1000 > MAX_PACKET_MS * codec.clock_rate:
        raise DecodeError(f"a payload of {len(payload)} bytes lasts longer than {MAX_PACKET_MS} ms")
    return ticks


def _opus_duration(payload: bytes) -> int:
    """RFC 6716, section 3.1: the first byte says mode and frame size, its last two bits how many frames."""
    if not payload:
        raise DecodeError("an Opus packet has at least one byte")
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame_ms: float = _SILK_MS[config % 4]
    elif config < 16:
        frame_ms = _HYBRID_MS[config % 2]
    else:
        frame_ms = _CELT_MS[config % 4]
    if code == 3 and len(payload) < 2:
        raise DecodeError("an Opus packet of many frames says how many")
    frames = payload[1] & 63 if code == 3 else (1, 2, 2)[code]
    if not 0 < frames * frame_ms <= _OPUS_MAX_MS:
        raise DecodeError(f"an Opus packet lasts up to {_OPUS_MAX_MS} ms, not {frames} times {frame_ms}")
    return round(frames * frame_ms * 48)


class PayloadDecoder:
    """One stream of one codec, without gaps: after one, make a new decoder or go on with the old."""

    def __init__(self, codec: Codec) -> None:
        if not codec.decodable:
            raise AudioError(f"{codec.name}/{codec.clock_rate} cannot be decoded")
        self._codec = codec
        self._ffmpeg = _ffmpeg(codec) if codec.name in _FFMPEG else None

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Float32 ``[n]`` at the codec's ``sample_rate``, full scale at ±1; channels are averaged.

        A payload whose ``duration`` is known gives as many samples, silent where the decoder refuses it.
        """
        if self._codec.name == L16:
            words = np.frombuffer(b"".join(payloads), ">i2").reshape(-1, self._codec.channels)
            mixed: Samples = (words.mean(axis=1) / 32768.0).astype(np.float32)
            return mixed
        if self._ffmpeg is None:
            law = Encoding.MULAW if self._codec.name == PCMU else Encoding.ALAW
            return decode(b"".join(payloads), law, 1)[:, 0]
        if self._codec.name == G722:  # its bytes know no packets
            payloads = [b"".join(payloads)]
        return np.concatenate([self._decode(payload) for payload in payloads])

    def _decode(self, payload: bytes) -> Samples:
        ticks = duration(self._codec, payload) if self._codec.name == OPUS else len(payload)
        length = ticks * self._codec.sample_rate // self._codec.clock_rate
        try:
            frames = self._ffmpeg.decode(av.Packet(payload)) if self._ffmpeg else []
        except av.FFmpegError:
            frames = []
        heard = [frame.to_ndarray().reshape(-1).astype(np.float32) / 32768.0 for frame in frames]
        samples: Samples = np.zeros(length, np.float32)
        if heard:
            decoded = np.concatenate(heard)[:length]
            samples[: len(decoded)] = decoded
        return samples


def _ffmpeg(codec: Codec) -> Any:
    name, layout = _FFMPEG[codec.name]
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate = codec.sample_rate
    decoder.layout = layout
    decoder.format = "s16"
    return decoder

"""What carries calls: G.711, G.722, GSM, AMR and Opus at call bit rates, and telephone lines made of them."""

import io
from dataclasses import dataclass, field
from typing import Literal

import av
import numpy as np
import soundfile
import soxr

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import SAMPLE_RATE, Encoding, Samples
from training.packet_loss import Loss, PacketLoss, receive
from training.rows import by_row, fit

NARROW_RATE = 8_000
"""Hertz; the sampling rate of the narrowband codecs."""

CodecName = Literal["mulaw", "alaw", "g722", "gsm", "amr", "opus"]
Choices = tuple[tuple[CodecName, tuple[int, ...]], ...]
"""Codecs, each with its bit rates in bits a second."""

G711: Choices = (("mulaw", (64_000,)), ("alaw", (64_000,)))
G722: Choices = (("g722", (64_000,)),)
GSM: Choices = (("gsm", (13_000,)),)
AMR: Choices = (("amr", (4_750, 5_150, 5_900, 6_700, 7_400, 7_950, 10_200, 12_200)),)
OPUS: Choices = (("opus", (6_000, 8_000, 12_000, 16_000, 24_000)),)


@dataclass(frozen=True, slots=True)
class Coding:
    """A speech codec at a bit rate, and how its packets fare; None loses none."""

    codec: CodecName
    bit_rate: int
    """Bits a second."""
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class SpeechCodec:
    """Through a speech codec, from 16 kHz to 16 kHz; the narrowband ones keep less than 4 kHz.

    G.722 (ITU-T), AMR narrowband (3GPP TS 26.071, libopencore) and Opus (RFC 6716) are FFmpeg's; GSM full
    rate (ETSI 06.10) is libsndfile's; G.711 is our own.
    """

    choices: Choices
    lossy: float = 0.0
    """Chance of packet loss."""
    loss: PacketLoss = field(default_factory=lambda: PacketLoss(frames_ms=(20,)))

    def draw(self, rng: np.random.Generator) -> Coding:
        """Codec first, so that many bit rates do not make one likelier; then bit rate and loss."""
        codec, rates = self.choices[rng.integers(len(self.choices))]
        rate = rates[rng.integers(len(rates))]
        return Coding(codec, rate, self.loss.draw(rng) if rng.random() < self.lossy else None)

    def apply(self, samples: Samples, parameters: Coding) -> Samples:
        """Coded and decoded, as long as before and without the codec's delay."""
        return by_row(samples, lambda row: carried(row, parameters))


@dataclass(frozen=True, slots=True)
class Line:
    """A telephone line: its codec and its band."""

    coding: Coding
    low_hz: float
    high_hz: float


@dataclass(frozen=True, slots=True)
class Telephone:
    """Band limit, 8 kHz, a narrowband codec, now and then packet loss, back at 16 kHz.

    Band edges vary as equipment does.
    """

    low_hz: tuple[float, float] = (0.0, 300.0)
    high_hz: tuple[float, float] = (3_300.0, 3_900.0)
    codec: SpeechCodec = field(default_factory=lambda: SpeechCodec((*G711, *GSM, *AMR), lossy=0.2))

    def draw(self, rng: np.random.Generator) -> Line:
        """Codec, loss and band edges."""
        coding = self.codec.draw(rng)
        return Line(coding, float(rng.uniform(*self.low_hz)), float(rng.uniform(*self.high_hz)))

    def apply(self, samples: Samples, parameters: Line) -> Samples:
        """What is heard at the other end."""
        line = parameters

        def call(row: Samples) -> Samples:
            return carried(limited(row, line.low_hz, line.high_hz), line.coding)

        return by_row(samples, call)


@dataclass(frozen=True, slots=True)
class Band:
    """What a line lets through."""

    low_hz: float
    high_hz: float


@dataclass(frozen=True, slots=True)
class BandLimit:
    """A telephone's band alone, around 300 to 3400 Hz, at 16 kHz and without a codec."""

    low_hz: tuple[float, float] = (200.0, 400.0)
    high_hz: tuple[float, float] = (3_200.0, 3_700.0)

    def draw(self, rng: np.random.Generator) -> Band:
        """Both edges."""
        return Band(float(rng.uniform(*self.low_hz)), float(rng.uniform(*self.high_hz)))

    def apply(self, samples: Samples, parameters: Band) -> Samples:
        """Nothing but the band."""
        return by_row(samples, lambda row: limited(row, parameters.low_hz, parameters.high_hz))


def limited(samples: Samples, low_hz: float, high_hz: float) -> Samples:
    """Float32 ``[n]`` at 16 kHz without what is below and above; phases are kept."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)
    # Slopes of an octave below and 200 Hz above: a brick wall would ring.
    rise = np.clip((hertz - low_hz / 2) / max(low_hz / 2, 1e-9), 0.0, 1.0)
    fall = np.clip((high_hz + 200.0 - hertz) / 200.0, 0.0, 1.0)
    return np.fft.irfft(spectrum * rise * fall, len(samples)).astype(np.float32)


def carried(samples: Samples, coding: Coding) -> Samples:
    """Float32 ``[n]`` at 16 kHz through a codec and back, ``[n]``."""
    if coding.codec == "opus":
        return fit(_opus(samples, coding), len(samples))
    if coding.codec == "g722":
        # 22 samples is the delay of the two quadrature mirror filters.
        return fit(_received(_ffmpeg(samples, "g722", 0)[22:], coding.loss), len(samples))
    narrow = soxr.resample(samples, SAMPLE_RATE, NARROW_RATE).astype(np.float32)
    if coding.codec == "amr":
        heard = _amr(narrow, coding)
    elif coding.codec == "gsm":
        heard = _received(_gsm(narrow), coding.loss, NARROW_RATE)
    else:
        law = Encoding.MULAW if coding.codec == "mulaw" else Encoding.ALAW
        heard = decode(encode(narrow, law), law, 1)[:, 0]
        heard = _received(heard, coding.loss, NARROW_RATE)
    return fit(soxr.resample(heard, NARROW_RATE, SAMPLE_RATE), len(samples))


def _received(samples: Samples, loss: Loss | None, rate: int = SAMPLE_RATE) -> Samples:
    return samples if loss is None else receive(samples, loss, rate)


def _gsm(narrow: Samples) -> Samples:
    file = io.BytesIO()
    soundfile.write(file, np.clip(narrow, -1.0, 1.0), NARROW_RATE, format="WAV", subtype="GSM610")
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded


def _amr(narrow: Samples, coding: Coding) -> Samples:
    """Lost frames arrive as NO_DATA (3GPP TS 26.101): the decoder conceals them by TS 26.091."""
    decoded = _ffmpeg(
        narrow, "libopencore_amrnb", coding.bit_rate, coding.loss, rate=NARROW_RATE, empty=b"\x7c"
    )
    return decoded[40:]  # 5 ms of look-ahead


def _opus(samples: Samples, coding: Coding) -> Samples:
    """Lost packets arrive as their first byte alone: an empty frame, which is concealed (RFC 6716)."""
    decoded = _ffmpeg(samples, "libopus", coding.bit_rate, coding.loss)
    heard: Samples = soxr.resample(decoded, 48_000, SAMPLE_RATE)
    return heard


def _ffmpeg(
    samples: Samples,
    codec: str,
    bit_rate: int,
    loss: Loss | None = None,
    *,
    rate: int = SAMPLE_RATE,
    empty: bytes = b"",
) -> Samples:
    """Through an encoder and decoder of FFmpeg packet by packet, delay and all.

    Args:
        samples: float32 ``[n]``.
        codec: its name in FFmpeg.
        bit_rate: bits a second, 0 for a codec that has one only.
        loss: which packets are emptied; their length is that of ``Loss.frame_ms`` for Opus, else the codec's.
        rate: Hertz of the samples.
        empty: what stands for a lost packet; its own first byte if this is empty.
    """
    encoder = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    if bit_rate:
        encoder.bit_rate = bit_rate
    if codec == "libopus":
        frame_ms = 20 if loss is None else loss.frame_ms
        encoder.options = {"application": "voip", "compression_level": "5", "frame_duration": f"{frame_ms}"}
    linear = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(linear[None], format="s16", layout="mono")
    frame.sample_rate = rate
    packets = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
    if loss is not None:
        lost = loss.lost(len(packets))
        pairs = zip(packets, lost, strict=True)
        packets = [empty or packet[:1] if gone else packet for packet, gone in pairs]
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = rate, "mono"
    decoder.extradata = encoder.extradata
    blocks = [block.to_ndarray()[0] for packet in packets for block in decoder.decode(av.Packet(packet))]
    return np.concatenate(blocks).astype(np.float32) / np.float32(32768.0)

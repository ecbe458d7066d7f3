"""Bytes to samples and back: PCM and the two laws of ITU-T G.711, each one table made from its formula."""

from functools import cache

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import Encoding, Samples
from fac_stream.errors import AudioError

FULL_SCALE = 32768.0
ABSURD_AMPLITUDE = 8.0
"""Float samples beyond this are taken for unscaled integers; real overshoots stay below 2."""


def decode(data: bytes, encoding: Encoding, channels: int) -> Samples:
    """Interleaved bytes to float32 ``[n, channels]``, full scale at ±1.

    Raises:
        AudioError: the bytes end inside a sample, or are floats that are not finite or not scaled to ±1.
    """
    if len(data) % (encoding.width * channels):
        raise AudioError(
            f"{len(data)} bytes of {encoding} with {channels} channel(s) end inside a sample: "
            f"send multiples of {encoding.width * channels} bytes"
        )
    samples: Samples
    match encoding:
        case Encoding.PCM_S16LE:
            samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
        case Encoding.PCM_F32LE:
            samples = np.frombuffer(data, "<f4").astype(np.float32)
            _check_floats(samples)
        case Encoding.MULAW:
            samples = _mulaw_decoder()[np.frombuffer(data, np.uint8)]
        case Encoding.ALAW:
            samples = _alaw_decoder()[np.frombuffer(data, np.uint8)]
    return samples.reshape(-1, channels)


def encode(samples: Samples, encoding: Encoding) -> bytes:
    """Float32 ``[n]`` or ``[n, channels]`` to interleaved bytes; what exceeds full scale is clipped.

    Raises:
        AudioError: a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise AudioError("the samples hold NaN or infinity: they cannot be encoded")
    if encoding is Encoding.PCM_F32LE:
        floats: bytes = samples.astype("<f4").tobytes()
        return floats
    linear: npt.NDArray[np.int16] = np.clip(np.rint(samples * FULL_SCALE), -32768, 32767).astype("<i2")
    if encoding is Encoding.PCM_S16LE:
        return linear.tobytes()
    table = _mulaw_encoder() if encoding is Encoding.MULAW else _alaw_encoder()
    return table[linear.view(np.uint16)].tobytes()


def _check_floats(samples: Samples) -> None:
    # max and min rather than abs: no copy of a long block. Comparing with NaN is false: hence the "not".
    if len(samples) and not (samples.max() <= ABSURD_AMPLITUDE and samples.min() >= -ABSURD_AMPLITUDE):
        if not np.isfinite(samples).all():
            raise AudioError("the samples hold NaN or infinity")
        raise AudioError(
            f"float samples reach {np.abs(samples).max():g}: full scale is ±1; "
            "divide 16-bit integers by 32768"
        )


@cache
def _mulaw_decoder() -> Samples:
    """ITU-T G.711, table 2: all bits inverted; sign, 3-bit exponent, 4-bit mantissa, bias 33 in 14 bits."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    magnitude = (((mantissa << 1) + 33 << exponent) - 33) << 2
    return _signed(magnitude, negative=code >= 128)


@cache
def _alaw_decoder() -> Samples:
    """ITU-T G.711, table 1: even bits inverted; sign, 3-bit exponent, 4-bit mantissa, 13 bits."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    # Segment 0 is linear; from segment 1 on there is a leading one, and each segment doubles the step.
    step = (mantissa << 1) + 1 + np.where(exponent > 0, 32, 0)
    return _signed(step << np.maximum(exponent - 1, 0) << 3, negative=code < 128)


def _signed(magnitude: npt.NDArray[np.int_], *, negative: npt.NDArray[np.bool_]) -> Samples:
    table: Samples = (np.where(negative, -magnitude, magnitude) / FULL_SCALE).astype(np.float32)
    table.setflags(write=False)
    return table


@cache
def _mulaw_encoder() -> npt.NDArray[np.uint8]:
    """Code for every 16-bit sample, indexed by its bits; G.711 defines it on the upper 14."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(int)
    biased = np.minimum((np.abs(value) >> 2) + 33, 8191)
    exponent = np.log2(biased).astype(int) - 5
    code = exponent << 4 | biased >> (exponent + 1) & 15 | np.where(value < 0, 128, 0)
    table: npt.NDArray[np.uint8] = (~code).astype(np.uint8)
    return table


@cache
def _alaw_encoder() -> npt.NDArray[np.uint8]:
    """Code for every 16-bit sample, indexed by its bits; G.711 defines it on the upper 13."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(int)
    # One's complement for negative values: -1 falls into the first negative interval, as the tables have it.
    magnitude = np.where(value < 0, ~value, value) >> 3
    exponent = np.maximum(np.log2(np.maximum(magnitude, 1)).astype(int) - 4, 0)
    code = exponent << 4 | magnitude >> np.maximum(exponent, 1) & 15
    table: npt.NDArray[np.uint8] = ((code | np.where(value < 0, 0, 128)) ^ 0x55).astype(np.uint8)
    return table

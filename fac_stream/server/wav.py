"""Bare samples dressed as a WAV file, so that one decoder reads everything that is sent whole."""

import struct

from fac_stream.audio.frames import Encoding
from fac_stream.errors import AudioError

MAGIC = (b"RIFF", b"RF64", b"OggS", b"fLaC", b"ID3", b"FORM", b"\x1aE\xdf\xa3")
"""How sound files begin; of MP4 the mark stands at byte 4."""
_FORMAT_TAG = {Encoding.PCM_S16LE: 1, Encoding.PCM_F32LE: 3, Encoding.ALAW: 6, Encoding.MULAW: 7}
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


def looks_like_a_file(data: bytes) -> bool:
    """Whether the first bytes are those of a sound file; bare samples hardly ever begin so."""
    return data.startswith(MAGIC) or data[4:8] == b"ftyp"


def wav(data: bytes, sample_rate: int, encoding: Encoding, channels: int) -> bytes:
    """A WAV file of interleaved samples.

    Raises:
        AudioError: the bytes are not a whole number of samples.
    """
    width = encoding.width * channels
    if len(data) % width:
        raise AudioError(
            f"{len(data)} bytes are no whole number of samples of {width} bytes: check encoding and channels"
        )
    header = _HEADER.pack(
        *(b"RIFF", _HEADER.size - 8 + len(data), b"WAVE"),
        *(b"fmt ", 16, _FORMAT_TAG[encoding], channels, sample_rate),
        *(sample_rate * width, width, encoding.width * 8),
        *(b"data", len(data)),
    )
    return header + data

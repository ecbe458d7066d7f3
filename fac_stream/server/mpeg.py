"""MP3 and AAC streams that begin without a mark of their own.

Their frames begin with eleven set bits, as quiet bare samples do (-1 is ``ff ff``). What tells them apart is
that each frame says where the next one begins, and one begins there.
"""

FRAMES = 3
"""That follow each other; by chance not one in a million."""
_KBIT_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBIT_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)
_HALVINGS = {3: 0, 2: 1, 0: 2}
"""MPEG-1, MPEG-2 and MPEG-2.5, by their two bits."""


def is_mpeg_stream(data: bytes) -> bool:
    """Whether the bytes begin with frames of MP3 (ISO 11172-3, 13818-3) or of AAC in ADTS (ISO 13818-7)."""
    for length in (_mp3_frame, _adts_frame):
        start = 0
        for _ in range(FRAMES):
            size = length(data[start : start + 7])
            if not size:
                break
            start += size
        else:
            return True
    return False


def _mp3_frame(header: bytes) -> int:
    """Bytes of the frame with this header; 0 where it is none of layer III."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, kbit, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version not in _HALVINGS or kbit == 15 or rate == 3:
        return 0
    bits = (_KBIT_1 if version == 3 else _KBIT_2)[kbit] * 1000
    per_frame = 144 if version == 3 else 72
    padding = header[2] >> 1 & 1
    return bits and per_frame * bits // (_RATES[rate] >> _HALVINGS[version]) + padding


def _adts_frame(header: bytes) -> int:
    """Bytes of the frame with this header; 0 where it is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else 0

"""Codecs as RTP names them: an encoding name, a clock rate, channels. Which of them are decoded here."""

from dataclasses import dataclass

PCMU, PCMA, G722, L16, OPUS = "PCMU", "PCMA", "G722", "L16", "OPUS"
TELEPHONE_EVENT = "TELEPHONE-EVENT"

_LAWS = (PCMU, PCMA, G722)


@dataclass(frozen=True, slots=True)
class Codec:
    """RFC 3551, section 6: what a payload type stands for."""

    name: str
    """Encoding name in capitals; names differ in no more than that (RFC 8866, section 6.6)."""
    clock_rate: int
    """Hertz of the RTP timestamp: not always that of the audio, see ``sample_rate``."""
    channels: int = 1

    @property
    def sample_rate(self) -> int:
        """Hertz of the audio: G.722's clock says 8000 by an old mistake (RFC 3551, section 4.5.2)."""
        return 16_000 if self.name == G722 else self.clock_rate

    @property
    def decodable(self) -> bool:
        """Whether ``audio/payload.py`` makes samples of it."""
        if self.name in _LAWS:
            return (self.clock_rate, self.channels) == (8_000, 1)
        if self.name == OPUS:  # RFC 7587, section 4.1: always 48000 and 2, whatever is inside
            return self.clock_rate == 48_000
        return self.name == L16 and 4_000 <= self.clock_rate <= 48_000 and self.channels in (1, 2)


STATIC: dict[int, Codec] = {
    0: Codec(PCMU, 8_000),
    3: Codec("GSM", 8_000),
    4: Codec("G723", 8_000),
    5: Codec("DVI4", 8_000),
    6: Codec("DVI4", 16_000),
    7: Codec("LPC", 8_000),
    8: Codec(PCMA, 8_000),
    9: Codec(G722, 8_000),
    10: Codec(L16, 44_100, 2),
    11: Codec(L16, 44_100),
    12: Codec("QCELP", 8_000),
    13: Codec("CN", 8_000),
    14: Codec("MPA", 90_000),
    15: Codec("G728", 8_000),
    16: Codec("DVI4", 11_025),
    17: Codec("DVI4", 22_050),
    18: Codec("G729", 8_000),
}
"""Payload type → codec where nobody says otherwise: RFC 3551, table 4, audio."""

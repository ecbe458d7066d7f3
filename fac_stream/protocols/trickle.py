"""Candidates that a WebRTC sender finds after its offer: ``application/trickle-ice-sdpfrag``.

RFC 8840, section 9 (the format), RFC 9725, section 4.3 (what WHIP does with it). A fragment repeats the
credentials of the session that it belongs to; others ask for an ICE restart.
"""

from dataclasses import dataclass, field

from fac_stream.errors import ProtocolError

MAX_CHARACTERS = 16 * 1024
MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """One, in the grammar of RFC 8839, section 5.1, without ``candidate:``."""

    mid: str
    """Which media line it is for."""
    text: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one PATCH brings."""

    ufrag: str
    """Empty where it names none."""
    password: str
    candidates: tuple[Candidate, ...]


def parse(text: str) -> Fragment:
    """Read a fragment; lines that are not needed are passed over, in any order.

    Raises:
        ProtocolError: too long, no SDP, or a candidate without the ``a=mid`` of its media line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProtocolError(f"an ICE fragment has at most {MAX_CHARACTERS} characters")
    said = {"ice-ufrag": "", "ice-pwd": ""}
    sections: list[_Section] = [_Section()]
    for line in filter(None, map(str.strip, text.splitlines())):
        if line[1:2] != "=":
            raise ProtocolError(f"no line of an ICE fragment: {line[:40]!r}")
        name, _, value = line[2:].partition(":")
        if line.startswith("m"):
            sections.append(_Section())
        elif name in said:
            said[name] = value
        elif name == "mid":
            sections[-1].mid = value
        elif name == "candidate":
            sections[-1].candidates.append(value)
    if any(section.candidates and not section.mid for section in sections):
        raise ProtocolError("a candidate needs the a=mid of the media line that it is for")
    found = [Candidate(section.mid, text) for section in sections for text in section.candidates]
    if len(found) > MAX_CANDIDATES:
        raise ProtocolError(f"an ICE fragment has at most {MAX_CANDIDATES} candidates")
    return Fragment(said["ice-ufrag"], said["ice-pwd"], tuple(found))


@dataclass(slots=True)
class _Section:
    mid: str = ""
    candidates: list[str] = field(default_factory=list)

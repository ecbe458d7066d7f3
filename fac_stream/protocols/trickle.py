"""Candidates that a WebRTC sender finds after its offer: ``application/trickle-ice-sdpfrag``.

RFC 8840, section 9 (the format), RFC 9725, section 4.3 (what WHIP does with it). A fragment repeats the
credentials of the session that it belongs to; others ask for an ICE restart.
"""

from dataclasses import dataclass

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
    """Read a fragment; lines that are not needed are passed over.

    Raises:
        ProtocolError: too long, no SDP, or a candidate before any ``a=mid``.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProtocolError(f"an ICE fragment has at most {MAX_CHARACTERS} characters")
    said = {"ice-ufrag": "", "ice-pwd": "", "mid": ""}
    candidates: list[Candidate] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line[1:2] != "=":
            raise ProtocolError(f"no line of an ICE fragment: {line[:40]!r}")
        name, _, value = line[2:].partition(":")
        if line.startswith("m"):
            said["mid"] = ""
        elif name in said:
            said[name] = value
        elif name == "candidate":
            if not said["mid"]:
                raise ProtocolError("a candidate came before the a=mid that says what it is for")
            candidates.append(Candidate(said["mid"], value))
    if len(candidates) > MAX_CANDIDATES:
        raise ProtocolError(f"an ICE fragment has at most {MAX_CANDIDATES} candidates")
    return Fragment(said["ice-ufrag"], said["ice-pwd"], tuple(candidates))

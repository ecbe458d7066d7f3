"""Which leg of the call each media line of a recording session is, and what is told of its people."""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from pydantic import JsonValue

from fac_stream.protocols.metadata import fitting
from fac_stream.protocols.siprec_metadata import Recording

CALLER, AGENT, MIXED = "caller", "agent", "mixed"


def name_legs(recording: Recording, labels: Sequence[str | None], agents: Sequence[str]) -> list[str]:
    """A leg for each media line: ``caller`` and ``agent`` where it can be told, ``mixed`` for several voices.

    The rest are ``p1``, ``p2``, … by their place among the lines.

    Args:
        recording: who speaks on which stream.
        labels: of the media lines.
        agents: patterns of agents' addresses without ``sip:``, as in ``*@agents.example.com`` or ``7??``.
            Where there are none, the word of the client on who called decides between two people.
    """
    names = [f"p{number}" for number in range(1, len(labels) + 1)]
    alone: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        speakers = recording.speakers(label)
        if len(speakers) == 1:
            alone.setdefault(speakers[0], []).append(index)
        elif speakers and MIXED not in names:
            names[index] = MIXED
    for person, role in _roles(recording, agents).items():
        if len(lines := alone.get(person, [])) == 1:
            names[lines[0]] = role
    return names


def fresh(name: str, taken: Collection[str]) -> str:
    """``name``, or ``name-2``, ``name-3``, … where others had it: who joins inherits nobody's decision."""
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def call_id_of(text: str) -> str:
    """A call id that looks like a Call-ID: what may not stand in ours becomes ``_``."""
    return re.sub(r"[^A-Za-z0-9._:-]", "_", text)[:128]


def describe(
    recording: Recording, legs: Sequence[tuple[str, str | None]], call_id: str, source: str
) -> dict[str, JsonValue]:
    """The call's metadata.

    Args:
        recording: what the client said.
        legs: name and label of each.
        call_id: Call-ID of the recording session.
        source: URI of the recording client.
    """
    speaking = {person: (leg, label) for leg, label in legs for person in recording.speakers(label)}
    participants: list[JsonValue] = []
    for key, person in recording.participants.items():
        leg, label = speaking.get(key, (None, None))
        streams: list[JsonValue] = list(recording.sends.get(key, ()))
        fields: dict[str, JsonValue] = {
            "leg": leg,
            "name": person.name,
            "aor": person.aor,
            "participant_id": key,
            "stream_ids": streams,
            "label": label,
        }
        participants.append({name: value for name, value in fields.items() if value})
    sessions: list[JsonValue] = [
        {"session_id": key, "sip_session_ids": list(ids)} for key, ids in recording.sessions.items()
    ]
    fields = {
        "sip_call_id": call_id,
        "recording_client": source,
        "participants": participants,
        "sessions": sessions,
        "groups": list(recording.groups),
    }
    return fitting({name: value for name, value in fields.items() if value})


def _roles(recording: Recording, agents: Sequence[str]) -> dict[str, str]:
    """Participant → role, for those whose role can be told and who have not left; each role once."""
    people = {key: person for key, person in recording.participants.items() if recording.sends.get(key) != ()}
    if agents:
        known = [key for key, person in people.items() if _fits(person.aor, agents)]
        others = [key for key in people if key not in known]
        if len(known) != 1:
            return {}
        return {known[0]: AGENT} | ({others[0]: CALLER} if len(others) == 1 else {})
    callers = [key for key, person in people.items() if person.calling]
    others = [key for key, person in people.items() if not person.calling]
    if len(callers) != 1:
        return {}
    return {callers[0]: CALLER} | ({others[0]: AGENT} if len(others) == 1 else {})


def _fits(aor: str, patterns: Sequence[str]) -> bool:
    bare = re.sub(r"^(sips?|tel):", "", aor.lower()).partition(";")[0]
    user = bare.partition("@")[0]
    return any(fnmatchcase(part, pattern.lower()) for pattern in patterns for part in (bare, user))

"""Who speaks on which stream of a recording session: the XML of RFC 7865, and of the drafts before it.

Session border controllers still send what the drafts said: ``id`` for ``participant_id``, ``<send>`` inside
``<participant>``, the name beside the address. Names are compared without their namespaces for the same
reason. A document type is refused, so that nothing can be expanded or fetched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from xml.parsers import expat

from fac_stream.errors import ProtocolError

MAX_BYTES = 64 * 1024
MAX_ELEMENTS = 2000
MAX_DEPTH = 16
MAX_CHARACTERS = 256
"""Of one text or attribute; longer ones are cut."""
MAX_OF_A_KIND = 64
"""Participants, streams or sessions."""


@dataclass(slots=True)
class Element:
    """An XML element without namespaces."""

    name: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> list["Element"]:
        """Children of this name."""
        return [child for child in self.children if child.name == name]

    def content(self, *names: str) -> str:
        """What the first child under one of these names says; empty where there is none."""
        found = (child.text.strip() for child in self.children if child.name in names)
        return next(found, "")

    def anywhere(self, name: str) -> str:
        """What the first element of this name at any depth says."""
        own = self.text.strip() if self.name == name else ""
        return own or next(filter(None, (child.anywhere(name) for child in self.children)), "")


@dataclass(frozen=True, slots=True)
class Participant:
    """A person on the recorded call."""

    aor: str = ""
    """Address, as in ``sip:alice@example.com``."""
    name: str = ""
    calling: bool | None = None
    """Whether they placed the call, where the client says so."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a recording session's calls; ids are the client's."""

    participants: Mapping[str, Participant] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Stream id → label of its media line."""
    sends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Participant → the streams that carry their voice."""
    sessions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Communication session → the SIP session ids it says it is."""
    groups: tuple[str, ...] = ()
    complete: bool = True
    """Whether this is all that is known, or what has changed."""

    def updated(self, news: "Recording") -> "Recording":
        """This after ``news``.

        Raises:
            ProtocolError: more participants, streams or sessions than a call can have.
        """
        if news.complete:
            return news
        merged = replace(
            news,
            participants={**self.participants, **news.participants},
            labels={**self.labels, **news.labels},
            sends={**self.sends, **news.sends},
            sessions={**self.sessions, **news.sessions},
            groups=tuple(dict.fromkeys((*self.groups, *news.groups))),
            complete=True,
        )
        _check(merged)
        return merged

    def speakers(self, label: str | None) -> tuple[str, ...]:
        """Ids of the participants whose voices the media line with this label carries."""
        streams = {stream for stream, known in self.labels.items() if known == label}
        return tuple(
            participant
            for participant, sent in self.sends.items()
            if participant in self.participants and streams.intersection(sent)
        )

    def streams(self, label: str | None) -> list[str]:
        """Ids of the streams with this label."""
        return [stream for stream, known in self.labels.items() if known == label]


def parse(document: bytes) -> Recording:
    """Read a metadata document.

    Raises:
        ProtocolError: no XML in UTF-8, a document type, no recording, or more than a call can have.
    """
    root = _tree(document)
    if root.name != "recording":
        raise ProtocolError(f"the metadata's root is <recording>, not <{root.name[:40]}>")
    people = root.all("participant")
    recording = Recording(
        participants={_id(person): _participant(person) for person in people},
        labels={_id(stream): stream.content("label") for stream in root.all("stream")},
        sends=_sends(root, people),
        sessions={
            _id(session): tuple(child.text.strip() for child in session.all("sipSessionID"))
            for session in root.all("session")
        },
        groups=tuple(_id(group) for group in root.all("group")),
        complete=root.content("datamode", "dataMode").lower() != "partial",
    )
    _check(recording)
    return recording


def _participant(person: Element) -> Participant:
    identity = next(iter(person.all("nameID")), person)
    calling = person.anywhere("callingParty").lower()
    return Participant(
        aor=identity.attributes.get("aor", "") or identity.content("aor"),
        name=identity.content("name"),
        calling={"true": True, "false": False}.get(calling),
    )


def _sends(root: Element, people: list[Element]) -> dict[str, tuple[str, ...]]:
    sends = {_id(person): _sent(person) for person in people if person.all("send")}
    for association in root.all("participantstreamassoc"):
        person = association.attributes.get("participant_id", "")
        if association.all("disassociate-time"):
            sends[person] = ()
        else:
            sends[person] = tuple(dict.fromkeys((*sends.get(person, ()), *_sent(association))))
    for association in root.all("participantsessionassoc"):
        if association.all("disassociate-time"):
            sends[association.attributes.get("participant_id", "")] = ()  # who left says nothing any more
    return sends


def _sent(element: Element) -> tuple[str, ...]:
    return tuple(child.text.strip() for child in element.all("send"))


def _id(element: Element) -> str:
    return element.attributes.get(f"{element.name}_id") or element.attributes.get("id", "")


def _check(recording: Recording) -> None:
    for kind in ("participants", "labels", "sends", "sessions", "groups"):
        if len(getattr(recording, kind)) > MAX_OF_A_KIND:
            raise ProtocolError(f"the metadata has more than {MAX_OF_A_KIND} {kind}")


def _tree(document: bytes) -> Element:
    if len(document) > MAX_BYTES:
        raise ProtocolError(f"the metadata is longer than {MAX_BYTES} bytes")
    root = Element("", {})
    open_elements = [root]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS or len(open_elements) > MAX_DEPTH:
            raise ProtocolError(f"the metadata has at most {MAX_ELEMENTS} elements, {MAX_DEPTH} deep")
        short = {_local(key): value[:MAX_CHARACTERS] for key, value in attributes.items()}
        element = Element(_local(name), short)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        element = open_elements[-1]
        element.text = (element.text + data)[:MAX_CHARACTERS]

    _read(document.strip(), start, end, text)
    return root.children[0]


def _read(
    document: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> None:
    def refuse(*_: object) -> None:
        raise ProtocolError("the metadata has a document type: entities are not expanded here")

    # The encoding is not for the document to choose: SIP is UTF-8.
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise ProtocolError(f"the metadata is no well-formed XML: {error}") from None


def _local(name: str) -> str:
    return name.rpartition(":")[2]

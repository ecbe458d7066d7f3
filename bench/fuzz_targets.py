"""What any bytes mean to each parser of ``fac_stream/protocols``, and what it has to make of them.

A target takes bytes and returns, or the parser is broken: what its documentation does not name is raised.
Where a conversation is needed the bytes are records, so that a fuzzer can also change order and time::

    kind, 1 byte: 0 text, 1 bytes, 2 close, 3 time passes ── length, 2 bytes ── that many bytes
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fac_stream.audio.codec import STATIC
from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.events import EndReason
from fac_stream.protocols import rtp, sdp, sip, siprec_metadata, trickle
from fac_stream.protocols.asterisk import AsteriskStream
from fac_stream.protocols.audiohook import AudioHook
from fac_stream.protocols.audiohook_signature import SignatureCheck, SignedRequest
from fac_stream.protocols.audiosocket import AudioSocketStream
from fac_stream.protocols.dialogue import Dialogue, Hangup, Media, Refusal, Start
from fac_stream.protocols.freeswitch import FreeSwitchStream
from fac_stream.protocols.jambonz import jambonz_stream
from fac_stream.protocols.multipart import parts
from fac_stream.protocols.nonces import Nonces
from fac_stream.protocols.pcm import PcmDialogue
from fac_stream.protocols.rtp_source import SourceLock
from fac_stream.protocols.rtp_stream import RtpStream
from fac_stream.protocols.sip_transactions import Peer
from fac_stream.protocols.siprec import Change, Invitation, RecordingServer
from fac_stream.protocols.siprec_legs import describe, name_legs
from fac_stream.protocols.siprec_requests import BUSY
from fac_stream.protocols.twilio import TwilioStream
from fac_stream.protocols.vonage import vonage_stream
from tests.peers.siprec import BOUNDARY, body, metadata, offer

DATA = Path(__file__).resolve().parents[1] / "tests/protocols/data"
TEXT, BYTES, CLOSE, TIME = range(4)
TIME_UNIT_S = 0.01
MAX_RECORDS = 2000
PEER = Peer("udp", "192.0.2.1", 5060)


class Clock:
    """Seconds, as the records say."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@dataclass(frozen=True)
class Target:
    """One parser."""

    run: Callable[[bytes], None]
    modules: tuple[str, ...]
    """Of ``fac_stream/protocols``, that refuse something and are reached here."""
    seeds: Callable[[], Iterator[bytes]]


def record(kind: int, data: bytes) -> bytes:
    """One record; what is longer than its length can say is cut."""
    return bytes([kind]) + len(data[:0xFFFF]).to_bytes(2) + data[:0xFFFF]


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each; the last one may be cut short."""
    place = 0
    for _ in range(MAX_RECORDS):
        if place + 3 > len(data):
            return
        end = place + 3 + int.from_bytes(data[place + 1 : place + 3])
        yield data[place] % 4, data[place + 3 : end]
        place = end


def _passed_s(data: bytes) -> float:
    return int.from_bytes(data[:3]) * TIME_UNIT_S


def _dialogue(fresh: Callable[[Clock], Dialogue]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        clock = Clock()
        dialogue = fresh(clock)
        try:
            _talk(dialogue, clock, data)
        except ProtocolError as error:
            said = dialogue.refused(Refusal.PROTOCOL_ERROR, str(error))
        else:
            said = dialogue.ended(EndReason.COMPLETED)
        assert not said or isinstance(said[-1], Hangup)

    return run


def _talk(dialogue: Dialogue, clock: Clock, data: bytes) -> None:
    width: int | None = None
    for kind, content in records(data):
        match kind:
            case 0:
                messages = dialogue.receive_text(content.decode("utf-8", "replace"))
            case 1:
                messages = dialogue.receive_bytes(content)
            case 2:
                messages = dialogue.receive_close()
            case _:
                clock.now += _passed_s(content)
                continue
        for message in messages:
            if isinstance(message, Start):
                assert width is None, "a call began twice"
                width = message.format.encoding.width
                json.dumps(message.metadata, allow_nan=False).encode()
                dialogue.admitted("call")
            if isinstance(message, Media):
                assert width is not None, "audio came before the call"
                assert len(message.data) % width == 0, "audio ends inside a sample"
        if kind == CLOSE:
            return


def _audiosocket(data: bytes) -> None:
    clock = Clock()
    stream = AudioSocketStream(now=clock)
    with suppress(ProtocolError):
        for kind, content in records(data):
            if kind == TIME:
                clock.now += _passed_s(content)
            else:
                list(stream.receive(content))
        stream.receive_end()


def _rtp(data: bytes) -> None:
    clock = Clock()
    lock = SourceLock()
    codecs = {**STATIC, 96: sdp.codec_of("opus/48000/2"), 97: sdp.codec_of("L16/16000")}
    stream = RtpStream(codecs, AudioFormat(16_000, Encoding.PCM_S16LE, ("mixed",)), "mixed", 0.06, 0.3)
    for kind, content in records(data):
        if kind == TIME:
            clock.now += _passed_s(content)
            stream.advance(clock.now)
            continue
        if rtp.is_rtcp(content):
            continue
        try:
            packet = rtp.parse(content)
        except ProtocolError:
            continue
        for arrival in lock.admit(packet, ("192.0.2.1", kind), clock.now):
            stream.receive(arrival.packet, arrival.at)
    stream.finish()


def _sdp(data: bytes) -> None:
    try:
        offer = sdp.parse(data.decode("utf-8", "replace"))
    except ProtocolError:
        return
    answer = sdp.answer(offer, "192.0.2.9", [40_000 if m.decodable else 0 for m in offer.media], "recvonly")
    assert len(sdp.parse(answer.format()).media) == len(offer.media), "nobody could read our answer"


def _sip(data: bytes) -> None:
    with suppress(ProtocolError):
        sip.parse(data)
    assert _streamed(data, len(data) or 1) == _streamed(data, 7), "where a stream is cut makes a difference"


def _streamed(data: bytes, size: int) -> list[sip.Request | sip.Response]:
    stream = sip.SipStream()
    found: list[sip.Request | sip.Response] = []
    with suppress(ProtocolError):
        for start in range(0, len(data), size):
            for message in stream.receive(data[start : start + size]):
                found.append(message)  # noqa: PERF402 - those before a refusal count, too
    return found


def _siprec(data: bytes) -> None:
    tags = iter(range(1_000_000))
    server = RecordingServer("192.0.2.9:5080", lambda: f"ours{next(tags)}")
    clock = Clock()
    for kind, content in records(data):
        if kind == TIME:
            clock.now += _passed_s(content)
            outputs = server.tick(clock.now)
        else:
            try:
                message = sip.parse(content)
            except ProtocolError:
                continue
            outputs = server.receive(message, PEER, clock.now) if message else []
        for output in outputs:
            if isinstance(output, Invitation | Change):
                _decide(server, output, clock.now, refuse=kind == CLOSE)


def _decide(server: RecordingServer, asked: Invitation | Change, now: float, *, refuse: bool) -> None:
    if refuse:
        server.refuse(asked.dialog, BUSY, "no room", retry_s=10)
        return
    labels = [line.label for line in asked.offer.media] if asked.offer else []
    names = name_legs(asked.recording, labels, ())
    describe(asked.recording, list(zip(names, labels, strict=True)), "call", "sip:src@192.0.2.1")
    ports = [40_000 if line.decodable else 0 for line in asked.offer.media] if asked.offer else []
    answer = sdp.answer(asked.offer, "192.0.2.9", ports, "recvonly") if asked.offer else None
    for transmit in server.accept(asked.dialog, answer, now):
        sip.parse(transmit.data)


def _metadata(data: bytes) -> None:
    try:
        recording = siprec_metadata.parse(data)
        recording = recording.updated(siprec_metadata.parse(data))
    except ProtocolError:
        return
    labels = sorted(set(recording.labels.values()))
    names = name_legs(recording, labels, ("7??", "*@agents.example.com"))
    json.dumps(describe(recording, list(zip(names, labels, strict=True)), "call", "src")).encode()


def _multipart(data: bytes) -> None:
    boundary, _, content = data.partition(b"\n")
    with suppress(ProtocolError):
        parts(content, boundary.decode("utf-8", "replace"))


def _trickle(data: bytes) -> None:
    with suppress(ProtocolError):
        trickle.parse(data.decode("utf-8", "replace"))


def _signature(data: bytes) -> None:
    described, _, signature = data.decode("utf-8", "surrogateescape").partition("\n")
    with suppress(ProtocolError):
        Nonces(10.0).take(described, 1e9)
    headers = {"x-api-key": "key", "signature-input": described, "signature": signature}
    try:
        SignatureCheck("key", b"secret").check(SignedRequest("/ws/audiohook", "fac.example", headers), 1e9)
    except ProtocolError:
        return
    raise AssertionError("nobody knows the secret")


def _message(message: Any) -> bytes:
    """A message of a golden file as a record."""
    match message:
        case {"text": str(text)} | {"text_raw": str(text)}:
            return record(TEXT, text.encode("utf-8", "replace"))
        case {"text": fields}:
            return record(TEXT, json.dumps(fields).encode())
        case {"hex": str(data)} | str(data) if data != "close":
            return record(BYTES, bytes.fromhex(data))
        case _:
            return record(CLOSE, b"")


def _conversations(*systems: str) -> Callable[[], Iterator[bytes]]:
    def seeds() -> Iterator[bytes]:
        for system in systems:
            for path in sorted((DATA / system).glob("*.json")):
                said = json.loads(path.read_text(encoding="utf-8"))
                yield b"".join(map(_message, said.get("messages", said.get("packets", []))))

    return seeds


def _files(system: str, pattern: str, read: Callable[[bytes], bytes]) -> Callable[[], Iterator[bytes]]:
    return lambda: (read(path.read_bytes()) for path in sorted((DATA / system).glob(pattern)))


def _lines(text: bytes) -> bytes:
    said = json.loads(text)
    return "\r\n".join([*said["lines"], *(["", said["body"]] if "body" in said else [])]).encode()


def _datagrams() -> Iterator[bytes]:
    packets = list(_files("rtp", "*.json", lambda text: bytes.fromhex(json.loads(text)["hex"]))())
    yield from (record(BYTES, packet) for packet in packets)
    heads = [bytes([0x80, kind, 0, n, 0, 0, n, 0, 0, 0, 0, 1]) for kind in (0, 9, 96) for n in range(3)]
    pieces = [record(BYTES, head + bytes(160)) + record(TIME, bytes([0, 0, 2])) for head in heads]
    yield b"".join(pieces)


def _sessions() -> Iterator[bytes]:
    both = f"multipart/mixed;boundary={BOUNDARY}"
    asked = [
        _request("INVITE", 1, "", both, body(offer([40_000, 40_002]), metadata(["1", "2"]))),
        _request("ACK", 1, ";tag=ours0"),
        _request("UPDATE", 2, ";tag=ours0", both, body(offer([40_000]), metadata(["1"], mode="partial"))),
        _request("INVITE", 3, ";tag=ours0", "application/rs-metadata+xml", metadata(["2"])),
        _request("OPTIONS", 4, ";tag=ours0"),
        _request("BYE", 5, ";tag=ours0"),
    ]
    yield b"".join(asked)
    yield asked[0] + _request("CANCEL", 1, "")
    yield asked[0].replace(b"\x00", b"\x02", 1) + asked[1]
    yield b"".join(record(BYTES, seed) for seed in _files("sip", "*.json", _lines)())


def _request(method: str, sequence: int, tag: str, kind: str = "", content: str = "") -> bytes:
    lines = [
        f"{method} sip:srs@192.0.2.9 SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{sequence}",
        "From: <sip:src@192.0.2.1>;tag=theirs",
        f"To: <sip:srs@192.0.2.9>{tag}",
        "Call-ID: call-1",
        f"CSeq: {sequence} {method}",
        "Contact: <sip:src@192.0.2.1:5070>;+sip.src",
        "Require: siprec",
        "Session-Expires: 1800;refresher=uac",
        "Supported: timer",
        *([f"Content-Type: {kind}"] if kind else []),
        "",
        content,
    ]
    return record(TEXT, "\r\n".join(lines).encode())


def _bodies() -> Iterator[bytes]:
    part = b"\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"
    yield b"b\n--b" + part + b"--b--"
    yield b"b\n--b" + part + b"--b" + part + b"--b"


def _signatures() -> Iterator[bytes]:
    covered = '"@request-target" "@authority" "audiohook-session-id"'
    yield (
        f'sig1=({covered});keyid="key";nonce="VGhpc0lzQU5vbmNlMDE";alg="hmac-sha256";created=1000000000;'
        "expires=1000000010\nsig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"
    ).encode()


def _spoken(fresh: Callable[[Clock], Dialogue], modules: str, *systems: str) -> Target:
    return Target(_dialogue(fresh), tuple(modules.split()), _conversations(*systems))


TARGETS = {
    "asterisk": _spoken(lambda clock: AsteriskStream({}, now=clock), "asterisk untimed", "asterisk"),
    "audiohook": _spoken(lambda _: AudioHook(), "audiohook audiohook_messages", "audiohook"),
    "audiohook_signature": Target(_signature, ("audiohook_signature", "nonces"), _signatures),
    "audiosocket": Target(_audiosocket, ("audiosocket",), _conversations("audiosocket")),
    "freeswitch": _spoken(
        lambda clock: FreeSwitchStream({}, answer_decisions=True, now=clock), "freeswitch", "freeswitch"
    ),
    "jambonz": _spoken(jambonz_stream, "jambonz metadata objects preamble", "jambonz"),
    "multipart": Target(_multipart, ("multipart",), _bodies),
    "pcm": _spoken(lambda _: PcmDialogue(), "pcm", "."),
    "rtp": Target(_rtp, ("rtp",), _datagrams),
    "sdp": Target(_sdp, ("sdp",), _files("sdp", "*.json", _lines)),
    "sip": Target(_sip, ("sip",), _files("sip", "*.json", _lines)),
    "siprec": Target(_siprec, ("sip_fields", "siprec", "siprec_requests"), _sessions),
    "siprec_metadata": Target(_metadata, ("siprec_metadata",), _files("siprec", "*.xml", bytes)),
    "trickle": Target(_trickle, ("trickle",), _files("whip", "*.sdpfrag", bytes)),
    "twilio": _spoken(
        lambda _: TwilioStream(),
        "twilio twilio_family",
        *("twilio", "signalwire", "telnyx", "plivo", "exotel"),
    ),
    "vonage": _spoken(vonage_stream, "vonage", "vonage"),
}


def inputs(name: str) -> list[bytes]:
    """What a target begins with: the golden messages, and whatever once broke it."""
    found = sorted((DATA / "fuzz" / name).glob("*"))
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in found)]

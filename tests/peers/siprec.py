"""A recording client, as session border controllers are: written from RFC 7866, RFC 7865 and RFC 3261."""

import asyncio
import secrets
import struct

import numpy as np
import soxr

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding
from fac_stream.protocols import sdp
from fac_stream.protocols.sip import Request, Response, SipStream, parse

ANSWER_S = 20.0
"""Longer than anything that a loaded machine needs to answer."""
PACKET = 160
"""Samples of 20 ms at 8 kHz."""
PCMU, PCMA = 0, 8
BOUNDARY = "a-boundary"
CRLF = "\r\n"

PEOPLE = {
    "1": ("part-1", "stream-1", "sip:+15550100@trunk.example.com", "Alice Caller"),
    "2": ("part-2", "stream-2", "sip:701@agents.example.com", "Bob Agent"),
}
"""Label → participant, stream, address, name."""


def offer(ports, *, direction="sendonly", payload=PCMU, directions=None):
    """An SDP with one audio line a port; labels count from 1."""
    lines = ["v=0", "o=src 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    for label, port in enumerate(ports, 1):
        name = {PCMU: "PCMU", PCMA: "PCMA"}[payload]
        lines += [f"m=audio {port} RTP/AVP {payload}", f"a=rtpmap:{payload} {name}/8000"]
        lines += [f"a=label:{label}", f"a={(directions or {}).get(label, direction)}"]
    return CRLF.join([*lines, ""])


def metadata(labels, *, mode="complete"):
    """What RFC 7865 has the client say of the people behind these labels."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1">',
        f"<datamode>{mode}</datamode>",
        '<session session_id="session-1"><sipSessionID>ab30317f1a784dc4</sipSessionID></session>',
    ]
    for label in labels:
        person, stream, aor, name = PEOPLE[label]
        parts += [
            f'<participant participant_id="{person}">',
            f'<nameID aor="{aor}"><name>{name}</name></nameID></participant>',
            f'<stream stream_id="{stream}" session_id="session-1"><label>{label}</label></stream>',
            f'<participantstreamassoc participant_id="{person}">',
            f"<send>{stream}</send></participantstreamassoc>",
        ]
    return "".join([*parts, "</recording>"])


def body(description, document):
    """Both in one: RFC 7866, section 7.1.1."""
    return CRLF.join(
        [
            f"--{BOUNDARY}",
            "Content-Type: application/sdp",
            "",
            description,
            f"--{BOUNDARY}",
            "Content-Type: application/rs-metadata+xml",
            "Content-Disposition: recording-session",
            "",
            document,
            f"--{BOUNDARY}--",
            "",
        ]
    )


class Client:
    """A dialog with a recording server at ``host:port``, over ``udp`` or ``tcp``."""

    def __init__(self, address, call_id, transport="udp"):
        host, port = address.rsplit(":", 1)
        self.call_id = call_id
        self.tag = secrets.token_hex(4)
        self.to = f"<sip:srs@{address}>"
        self.sequence = 0
        self.requests = asyncio.Queue()
        """What the server asks for, such as BYE."""
        self._address = (host.strip("[]"), int(port))
        self._transport = transport
        self._answers = asyncio.Queue()
        self._stream = SipStream()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        if self._transport == "udp":
            self._out, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), remote_addr=self._address)
        else:
            self._out, _ = await loop.create_connection(lambda: _Tcp(self), *self._address)
        self._local = "{}:{}".format(*self._out.get_extra_info("sockname")[:2])
        return self

    async def __aexit__(self, *_):
        self._out.close()

    def send(self, message):
        """Send as it is."""
        (self._out.sendto if self._transport == "udp" else self._out.write)(message)

    def request(self, method, content="", *, kind=None, branch=None, sequence=None, **fields):
        """A request of this dialog, as bytes; underscores in names of ``fields`` stand for hyphens."""
        if sequence is None:
            self.sequence += method not in ("ACK", "CANCEL")
            sequence = self.sequence
        branch = branch or f"z9hG4bK{secrets.token_hex(6)}"
        lines = [
            f"{method} sip:srs@{self._address[0]}:{self._address[1]} SIP/2.0",
            f"Via: SIP/2.0/{self._transport.upper()} {self._local};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:src@{self._local}>;tag={self.tag}",
            f"To: {self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {sequence} {method}",
            f"Contact: <sip:src@{self._local};transport={self._transport}>;+sip.src",
            *(["Require: siprec"] if method == "INVITE" else []),
            *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items()),
        ]
        if content:
            lines.append(f"Content-Type: {kind or f'multipart/mixed;boundary={BOUNDARY}'}")
        return CRLF.join([*lines, f"Content-Length: {len(content.encode())}", "", content]).encode()

    async def ask(self, method, content="", **fields):
        """Send a request; returns its final answer."""
        self.send(self.request(method, content, **fields))
        return await self.answer()

    async def answer(self):
        """The next final answer."""
        async with asyncio.timeout(ANSWER_S):
            while (answer := await self._answers.get()).status < 200:
                pass
        return answer

    async def change(self, method, description, document, **fields):
        """INVITE or UPDATE with both bodies; returns the answer's media lines."""
        answer = await self.ask(method, body(description, document), **fields)
        assert answer.status == 200, (answer, answer.fields.all("Warning"))
        self.to = answer.fields.first("To")
        if method == "INVITE":
            self.send(self.request("ACK", sequence=self.sequence))
        return sdp.parse(answer.body.decode()).media

    def take(self, message):
        """A message of the server's; its requests are answered with 200."""
        if isinstance(message, Response):
            self._answers.put_nowait(message)
        elif isinstance(message, Request):
            names = ("via", "from", "to", "call-id", "cseq")
            copied = [f"{name}: {value}" for name, value in message.fields if name.lower() in names]
            self.send(CRLF.join(["SIP/2.0 200 OK", *copied, "Content-Length: 0", "", ""]).encode())
            self.requests.put_nowait(message)

    def bytes_came(self, data):
        """A piece of the stream."""
        for message in self._stream.receive(data):
            self.take(message)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, client):
        self._client = client

    def datagram_received(self, data, addr):
        self._client.take(parse(data))

    def error_received(self, exc):
        """The server is gone."""


class _Tcp(asyncio.Protocol):
    def __init__(self, client):
        self._client = client

    def data_received(self, data):
        self._client.bytes_came(data)


class RtpSender:
    """20 ms packets to a port, each ``PACKET`` bytes of G.711; from ``host``, where it is given."""

    def __init__(self, address, port, payload=PCMU, host=None):
        self._to = (address, port)
        self._from = (host, 0) if host else None
        self._payload = payload
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._out, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, self._from, self._to)
        return self

    async def __aexit__(self, *_):
        self._out.close()

    def send(self, data):
        """One packet."""
        head = struct.pack("!BBHII", 0x80, self._payload, self._sequence, self._timestamp, self._ssrc)
        self._out.sendto(head + data)
        self._sequence = (self._sequence + 1) % 2**16
        self._timestamp = (self._timestamp + len(data)) % 2**32

    async def play(self, data, pace=1.0):
        """All of it, ``pace`` times as fast as real time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for index in range(0, len(data), PACKET):
            self.send(data[index : index + PACKET])
            await asyncio.sleep(began + (index + PACKET) / 8000 / pace - loop.time())


def g711(pcm, payload=PCMU):
    """16 kHz ``pcm_s16le`` to 8 kHz of the law that the payload type stands for."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    low = soxr.resample(samples, 16_000, 8_000).astype(np.float32)
    return encode(low, Encoding.MULAW if payload == PCMU else Encoding.ALAW)


async def place_call(address, pcm, call_id, *, pace=1.0, transport="udp", payload=PCMU):
    """A recorded call whose caller says ``pcm`` while the agent is silent; ends properly.

    Args:
        address: ``host:port`` of the recording server.
        pcm: 16 kHz ``pcm_s16le``.
        call_id: SIP's Call-ID.
        pace: times as fast as real time.
        transport: ``udp`` or ``tcp``.
        payload: 0 for PCMU, 8 for PCMA.
    """
    voice = g711(pcm, payload)
    silence = encode(np.zeros(len(voice), np.float32), Encoding.MULAW if payload == PCMU else Encoding.ALAW)
    async with Client(address, call_id, transport) as client:
        description = offer([40_000, 40_002], payload=payload)
        caller, agent = await client.change("INVITE", description, metadata(["1", "2"]))
        async with (
            RtpSender(caller.address, caller.port, payload) as one,
            RtpSender(agent.address, agent.port, payload) as other,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(one.play(voice, pace))
            group.create_task(other.play(silence, pace))
        answer = await client.ask("BYE")
        assert answer.status == 200, answer

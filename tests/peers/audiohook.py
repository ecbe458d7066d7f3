"""An emulator of Genesys Cloud's side of AudioHook, from https://developer.genesys.cloud/devapps/audiohook."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import soxr
from websockets.asyncio.client import connect

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import Encoding

ENCODINGS = {"PCMU": Encoding.MULAW, "L16": Encoding.PCM_S16LE}
PACKET_S = 0.1
NULL = "00000000-0000-0000-0000-000000000000"
DEADLINE_S = 60
OFFERED = (("external", "internal"), ("external",), ("internal",))


def sign(target, authority, headers, secret, *, created=None, expires=None, nonce=None):
    """The two headers of an HTTP message signature over ``headers``, names in lower case."""
    created = int(time.time()) if created is None else created
    values = {"@request-target": target, "@authority": authority, **headers}
    said = (
        f"({' '.join(f'{chr(34)}{name}{chr(34)}' for name in values)})"
        f';keyid="{headers["x-api-key"]}";nonce="{nonce or secrets.token_urlsafe(18)}"'
        f';alg="hmac-sha256";created={created};expires={created + 30 if expires is None else expires}'
    )
    lines = [f'"{name}": {value}' for name, value in values.items()] + [f'"@signature-params": {said}']
    digest = hmac.digest(base64.b64decode(secret), "\n".join(lines).encode(), hashlib.sha256)
    return {"Signature-Input": f"sig1={said}", "Signature": f"sig1=:{base64.b64encode(digest).decode()}:"}


def handshake(url, session, organization, api_key, client_secret):
    """The headers with which Genesys Cloud connects."""
    headers = {
        "audiohook-organization-id": organization,
        "audiohook-session-id": session,
        "audiohook-correlation-id": str(uuid.uuid4()),
        "x-api-key": api_key,
    }
    if client_secret:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        return headers | sign(target, parts.netloc, headers, client_secret)
    return headers


class Genesys:
    """One session from the client's side; it holds the server to the rules of the protocol."""

    def __init__(self, socket, session, organization):
        self.socket = socket
        self.session = session
        self.received = []
        """Everything the server said."""
        self.media = None
        self.position = 0.0
        """Seconds of the stream, what was left out included."""
        self._organization = organization
        self._seq = 0

    async def say(self, kind, **parameters):
        """Send a message."""
        self._seq += 1
        message = {
            "version": "2",
            "id": self.session,
            "type": kind,
            "seq": self._seq,
            "serverseq": len(self.received),
            "position": f"PT{self.position:.6f}S",
            "parameters": parameters,
        }
        await self.socket.send(json.dumps(message))

    async def hear(self, kind):
        """Read until a message of this kind; checks every one on the way."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = json.loads(await self.socket.recv(decode=True))
                assert message["version"] == "2"
                assert message["id"] == self.session
                assert message["seq"] == len(self.received) + 1
                assert message["clientseq"] <= self._seq
                self.received.append(message)
                if message["type"] == kind:
                    return message

    async def open(self, media_format="PCMU", channels=OFFERED, **parameters):
        """The open transaction; returns what the server chose, or None where it chose nothing."""
        offered = [
            {"type": "audio", "format": media_format, "channels": list(names), "rate": 8000}
            for names in channels
        ]
        said = {
            "organizationId": self._organization,
            "conversationId": str(uuid.uuid4()),
            "participant": {
                "id": str(uuid.uuid4()),
                "ani": "tel:+13175550100",
                "aniName": "Jane Doe",
                "dnis": "tel:+18005550199",
            },
            "media": offered,
        }
        await self.say("open", **said | parameters)
        chosen = (await self.hear("opened"))["parameters"]["media"]
        assert len(chosen) <= 1
        assert all(media in offered for media in chosen)
        self.media = chosen[0] if chosen else None
        return self.media

    def encoded(self, caller, agent=None):
        """The legs, float32 at 8 kHz, as the chosen media; without an agent that one is silent."""
        legs = {"external": caller, "internal": np.zeros_like(caller) if agent is None else agent}
        channels = np.stack([legs[name] for name in self.media["channels"]], axis=1)
        return encode(channels, ENCODINGS[self.media["format"]])

    async def send(self, data, pace=1.0):
        """Audio in packets, ``pace`` times as fast as real time; 0 for at once."""
        width = ENCODINGS[self.media["format"]].width * len(self.media["channels"])
        size = round(8000 * PACKET_S) * width
        loop = asyncio.get_running_loop()
        began, before = loop.time(), self.position
        for first in range(0, len(data), size):
            packet = data[first : first + size]
            await self.socket.send(packet)
            self.position += len(packet) / width / 8000
            if pace:
                await asyncio.sleep(began + (self.position - before) / pace - loop.time())

    async def close(self, reason="end"):
        """The close transaction."""
        await self.say("close", reason=reason)
        await self.hear("closed")

    def entities(self):
        """All entities that came so far."""
        return [
            entity
            for message in self.received
            if message["type"] == "event"
            for entity in message["parameters"]["entities"]
        ]


@asynccontextmanager
async def connected(url, session=None, *, api_key="test", client_secret=None):
    """A connection as Genesys Cloud makes it."""
    session, organization = session or str(uuid.uuid4()), str(uuid.uuid4())
    headers = handshake(url, session, organization, api_key, client_secret)
    async with connect(url, additional_headers=headers, proxy=None, max_size=65_536) as socket:
        yield Genesys(socket, session, organization)


async def place_call(url, pcm, call_id, *, pace=1.0, api_key="test", client_secret=None, media="PCMU"):
    """Send 16 kHz ``pcm_s16le`` as the caller's leg and close properly.

    ``call_id`` becomes the session's id and must be a UUID. Returns the entities that the server sent.
    """
    caller = soxr.resample(decode(pcm, Encoding.PCM_S16LE, 1)[:, 0], 16_000, 8000)
    async with connected(url, call_id, api_key=api_key, client_secret=client_secret) as genesys:
        await genesys.open(media)
        await genesys.send(genesys.encoded(caller), pace)
        await genesys.close()
        return genesys.entities()

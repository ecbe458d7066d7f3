"""Asterisk's side of AudioSocket, from https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/."""

import asyncio
import uuid
from contextlib import suppress

from tests.peers.voice import converted, packets

RATES = {0x10: 8_000, 0x11: 12_000, 0x12: 16_000, 0x13: 24_000, 0x14: 32_000, 0x15: 44_100, 0x16: 48_000}
CLOSE_S = 60.0


def uuid_of(call_id):
    """The UUID that stands for a call id; a UUID stands for itself."""
    try:
        return uuid.UUID(call_id)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_OID, call_id)


def packet(kind, payload=b""):
    """One packet."""
    return bytes([kind]) + len(payload).to_bytes(2) + payload


async def place_call(address, pcm, call_id, *, pace=1.0, kind=0x10, says_goodbye=True):
    """Send ``pcm`` (s16le, mono, 16 kHz) as one call and end it.

    Args:
        address: ``host:port`` of the listener.
        pcm: the caller's voice.
        call_id: becomes the UUID, see ``uuid_of``.
        pace: times real time; 0 for at once.
        kind: type of the audio packets.
        says_goodbye: end with the packet for that; else only close, as a channel that hangs up does.

    Returns:
        What came back: the daemon's own hangup, once the call is over.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(packet(0x01, uuid_of(call_id).bytes))
        rate = RATES[kind]
        async for part in packets(converted(pcm, rate), 2 * rate, pace):
            writer.write(packet(kind, part))
            await writer.drain()
        if says_goodbye:
            writer.write(packet(0x00))
        else:
            writer.write_eof()
        async with asyncio.timeout(CLOSE_S):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

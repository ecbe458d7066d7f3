"""Which addresses a hook may connect to: a URL must not lead the daemon into the networks behind it.

The check stands where a socket is made for an address that was resolved: what it sees is what is connected
to, whatever a name server says the next time. Redirects are not followed and proxies not asked, so there is
no other way out.
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp

from fac_stream.config_hooks import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to anybody; the standard library calls more of it global."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SPECIAL = (
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's metadata and agent service
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890; Oracle's metadata service; older Pythons know a part
)
"""What looks public and is not."""


class RefusedAddressError(OSError):
    """An address that this hook may not connect to."""


def refusal(address: str, allowed: Sequence[Network]) -> str | None:
    """Why an address must not be connected to, in words; None where it may be.

    Args:
        address: as a resolver gives it; of IPv6 perhaps with a zone.
        allowed: networks that may be connected to although they are not public.
    """
    # An IPv6 address may be another way to write an IPv4 one: both have to be good.
    for it in _meant(ipaddress.ip_address(address.partition("%")[0])):
        if not _is_public(it) and not any(it in network for network in allowed):
            return f"{it} is not a public address: if it is meant, name its network in allow_private"
    return None


def guarded(allowed: Sequence[Network]) -> aiohttp.ClientSession:
    """A session that connects to public addresses and to these networks only."""

    def make_socket(found: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = found
        if why := refusal(address[0], allowed):
            raise RefusedAddressError(0, why)
        return socket.socket(family, kind, protocol)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=make_socket), cookie_jar=aiohttp.DummyCookieJar()
    )


def _meant(address: Address) -> list[Address]:
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address in NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address, *([address.sixtofour] if address.sixtofour else [])]


def _is_public(address: Address) -> bool:
    if address.version == 6:
        given_out = address in UNICAST
    else:
        given_out = not any(address in network for network in SPECIAL)
    return given_out and address.is_global and not address.is_multicast

import asyncio
import ipaddress
import socket

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fac_stream.alerts.guard import guarded, refusal
from fac_stream.alerts.message import Outcome
from fac_stream.alerts.webhook import post
from fac_stream.config_hooks import Webhook
from tests.alerts.test_outbox import message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata service
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure's
    "169.254.169.254",  # everybody else's
    "172.31.255.255",
    "192.0.0.192",  # Oracle's
    "192.168.0.1",
    "224.0.0.251",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "::ffff:10.1.2.3",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",  # Amazon's metadata service
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2002:101:101::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address):
    """However it is written; unless it is allowed."""
    assert "allow_private" in refusal(address, ())
    assert refusal(address, Webhook(url="http://x", secret=SECRET, allow_private=True).allow_private) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address):
    """A receiver on the internet needs no setting."""
    assert refusal(address, ()) is None


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(address):
    """An IPv4 address is no better for being written as IPv6, in any of the ways that lead to it."""
    number = int(address)
    written = [(0xFFFF << 32) | number, (0x2002 << 112) | (number << 80), (0x64FF9B << 96) | number]

    for it in map(ipaddress.IPv6Address, written):
        assert (refusal(str(it), ()) is None) == (refusal(str(address), ()) is None), it


def test_a_network_that_is_allowed_opens_no_other():
    """What is allowed is a list, and an address written as IPv6 counts as the one that it stands for."""
    allowed = Webhook(url="http://x", secret=SECRET, allow_private=["10.0.0.0/8"]).allow_private

    assert refusal("10.9.9.9", allowed) is None
    assert refusal("::ffff:10.9.9.9", allowed) is None
    assert refusal("127.0.0.1", allowed)
    assert refusal("169.254.169.254", allowed)


@pytest.fixture
async def receiver():
    """A receiver on loopback that counts its posts, and redirects from /away."""
    app, posts = web.Application(), []

    async def take(request):
        posts.append(request.path)
        return web.Response(status=204)

    async def away(request):
        raise web.HTTPTemporaryRedirect("/hook")

    app.router.add_post("/hook", take)
    app.router.add_post("/away", away)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield server.port, posts
    await server.close()


async def try_once(url, **settings):
    """One attempt to deliver to this address."""
    hook = Webhook(url=url, secret=SECRET, **settings)
    async with guarded(hook.allow_private) as session:
        return await post(session, hook, message())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_no_post_reaches_a_private_address_unasked(receiver, host):
    """Neither by number nor by name; the reason says what to set, and not the path."""
    port, posts = receiver

    attempt = await try_once(f"http://{host}:{port}/hook")

    assert attempt.outcome is Outcome.RETRY
    assert "allow_private" in attempt.detail
    assert "/hook" not in attempt.detail
    assert posts == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
async def test_numbers_in_disguise_reach_nobody(receiver, host):
    """The ways in which C libraries let one write 127.0.0.1 are no way around."""
    port, posts = receiver

    attempt = await try_once(f"http://{host}:{port}/hook")

    assert attempt.outcome is Outcome.RETRY
    assert posts == []


async def test_a_post_reaches_an_address_that_is_allowed(receiver):
    """With its network allowed the post is made."""
    port, posts = receiver

    attempt = await try_once(f"http://localhost:{port}/hook", allow_private=["127.0.0.0/8"])

    assert attempt.outcome is Outcome.DELIVERED
    assert posts == ["/hook"]


async def test_a_redirect_is_a_failure(receiver):
    """It is not followed, wherever it leads."""
    port, posts = receiver

    attempt = await try_once(f"http://127.0.0.1:{port}/away", allow_private=True)

    assert (attempt.outcome, attempt.detail) == (Outcome.RETRY, "HTTP 307")
    assert posts == []


async def test_a_name_that_changes_its_address_is_caught(receiver, monkeypatch):
    """The address that is connected to is the one that is judged, whatever the name said before."""
    port, posts = receiver
    answers = ["127.0.0.2", "127.0.0.1"]

    async def getaddrinfo(host, *arguments, **named):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    hook = Webhook(url=f"http://rebinding.example:{port}/hook", secret=SECRET, allow_private=["127.0.0.2/32"])
    loop = asyncio.get_running_loop()
    async with guarded(hook.allow_private) as session:
        session.connector._use_dns_cache = False
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        first = await post(session, hook, message())  # nobody listens on 127.0.0.2
        second = await post(session, hook, message())

    assert answers == []
    assert "allow_private" not in first.detail
    assert "127.0.0.1 is not a public address" in second.detail
    assert posts == []


async def test_a_proxy_of_the_environment_is_not_asked(receiver, monkeypatch):
    """A proxy would connect for us to where the guard does not see."""
    port, posts = receiver
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")

    async with guarded(()) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match="allow_private"):
            await session.post("http://127.0.0.1:9/hook")

    assert posts == []


@pytest.mark.parametrize("allowed", ["10.0.0.0/8", 3, ["10.0.0.300"], ["10.0.0.1/8"], ["host"], None])
def test_what_is_no_network_is_refused(allowed):
    """With words that say what would be one."""
    with pytest.raises(ValidationError, match=r"network|has host bits"):
        Webhook(url="http://x", secret=SECRET, allow_private=allowed)

import asyncio
import base64
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from fac_stream.config import Server
from fac_stream.server.auth import Guard
from fac_stream.server.failure import ApiError
from tests.server.serving import serving

TOKEN = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def token_subprotocol(token):
    """The subprotocol in which a browser sends a token."""
    return "fac.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "path",
    [
        "/api/calls",
        "/api/alerts/x",
        "/api/alerts/x/saliency",
        "/api/history",
        "/api/history/x",
        "/api/model/status",
        "/metrics",
        "/ws/events",
        "/api/graph/x",
    ],
)
async def test_a_token_opens_what_is_closed_without(tmp_path, path):
    """401 without the token, with a wrong one and with another scheme; something else with it."""
    async with serving(tmp_path, server={"token": TOKEN}) as served:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            response = await served.http.get(path, headers=headers)
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await response.json())["error"]["code"] == "unauthorised"
        response = await served.http.get(path, headers=BEARER)
        assert response.status != 401


@pytest.mark.parametrize("path", ["/", "/api/health", "/js/main.js", "/style.css"])
async def test_the_dashboards_files_and_health_are_open(tmp_path, path):
    """A browser has to load the page that asks for the token."""
    async with serving(tmp_path, server={"token": TOKEN}) as served:
        assert (await served.http.get(path)).status == 200


@pytest.mark.parametrize("name", [b"Authorization: Bearer ", b"Sec-WebSocket-Protocol: fac.v1, fac.token."])
async def test_a_token_that_is_no_text_is_refused(tmp_path, name):
    """Bytes that are no UTF-8 are a wrong token, not a fault of ours."""
    async with serving(tmp_path, server={"token": TOKEN}) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(
            b"GET /api/calls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            + name
            + b"\xff\xfe\r\n\r\n"
        )
        async with asyncio.timeout(30):
            assert (await reader.read()).startswith(b"HTTP/1.1 401")
        writer.close()
        await writer.wait_closed()


async def test_health_tells_strangers_no_details(tmp_path):
    """Names of devices and files are for those who have the token."""
    report = {"status": "degraded", "problems": ["microphone of the boss"]}
    async with serving(tmp_path, health=report, server={"token": TOKEN}) as served:
        assert await (await served.http.get("/api/health")).json() == {"status": "degraded"}
        assert await (await served.http.get("/api/health", headers=BEARER)).json() == report


async def test_posts_need_the_token(tmp_path):
    """No recording is scored for a stranger, and no call deleted."""
    async with serving(tmp_path, server={"token": TOKEN}) as served:
        assert (await served.http.post("/api/predict/realtime", json={"audio": ""})).status == 401
        assert (await served.http.request("DELETE", "/api/history/c")).status == 401
        assert served.of("call.deleted") == []


async def test_a_browser_sends_the_token_as_a_subprotocol(tmp_path):
    """The answer chooses fac.v1 and never repeats the token."""
    async with serving(tmp_path, server={"token": TOKEN}) as served:
        offered = ["fac.v1", token_subprotocol(TOKEN)]
        async with served.connect("/ws/events", subprotocols=offered) as socket:
            assert socket.subprotocol == "fac.v1"
        with pytest.raises(InvalidStatus, match="401"):
            await served.connect("/ws/events", subprotocols=["fac.v1", token_subprotocol("x" * 20)])
        with pytest.raises(InvalidStatus, match="401"):
            await served.connect("/ws/ingest")
        async with served.connect("/ws/events", additional_headers=BEARER) as socket:
            assert socket.subprotocol is None


async def test_a_client_that_offers_only_other_subprotocols_is_refused(tmp_path):
    """Whoever speaks something else is told before it misunderstands."""
    async with serving(tmp_path) as served:
        with pytest.raises(InvalidStatus, match="400"):
            await served.connect("/ws/events", subprotocols=["graphql-ws"])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.1"])
async def test_a_rebound_name_is_refused(tmp_path, host):
    """A page that makes its own name point here gets nothing, not even the page."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/", headers={"Host": host})
        assert response.status == 403
        assert (await response.json())["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765", "fac.intern.", "b.intern"]
)
async def test_our_own_names_are_accepted(tmp_path, host):
    """Loopback and server.allowed_hosts, with any port, as a forwarded port has another."""
    async with serving(tmp_path, server={"allowed_hosts": ["fac.intern", "B.intern:443"]}) as served:
        assert (await served.http.get("/api/health", headers={"Host": host})).status == 200


@pytest.mark.parametrize("host", ["", "a b", "a@localhost", "localhost/", "[::1", "localhost:99999999"])
async def test_a_host_that_is_none_is_a_bad_request(tmp_path, host):
    """What cannot be understood is refused, not guessed."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/api/health", headers={"Host": host})
        assert response.status == 400


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_host_is_accepted_or_refused(host):
    """The check refuses or accepts, and what a wildcard bind accepts is localhost or an address."""
    guard = Guard(Server(host="0.0.0.0", expose_without_protection=True))
    headers = SimpleNamespace(getall=lambda *_: [host])
    try:
        guard._check_host(SimpleNamespace(headers=headers))
    except ApiError:
        return
    assert host.lower().startswith("localhost") or not set(host.lower()) - set("[]0123456789abcdef.:")


def test_a_wildcard_bind_accepts_addresses_but_no_foreign_names():
    """Whoever binds to all addresses is reached by any of them; a rebound name stays out."""
    guard = Guard(Server(host="::", expose_without_protection=True))

    def check(host):
        guard._check_host(SimpleNamespace(headers=SimpleNamespace(getall=lambda *_: [host])))

    check("192.168.1.5:8765")
    check("[fe80::1]:8765")
    with pytest.raises(ApiError, match=r"evil\.example"):
        check("evil.example")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_foreign_pages_may_neither_post_nor_open_sockets(tmp_path, origin):
    """A page of another origin in the same browser is refused with 403."""
    headers = {"Origin": origin}
    async with serving(tmp_path) as served:
        response = await served.http.post("/api/predict/realtime", json={}, headers=headers)
        assert response.status == 403
        assert (await response.json())["error"]["code"] == "origin_not_allowed"
        for path in ("/ws/events", "/ws/ingest"):
            with pytest.raises(InvalidStatus, match="403"):
                await served.connect(path, additional_headers=headers)
        response = await served.http.get("/api/health", headers=headers)
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_our_own_page_may(tmp_path):
    """The dashboard's origin is the host that it was loaded from."""
    async with serving(tmp_path) as served:
        headers = {"Origin": served.url.rstrip("/")}
        response = await served.http.post("/api/predict/realtime", json={}, headers=headers)
        assert response.status == 422
        async with served.connect("/ws/events", additional_headers=headers):
            pass


async def test_an_allowed_origin_may_and_can_read_the_answer(tmp_path):
    """CORS for server.allowed_origins: preflight without token, and the header on answers and errors."""
    page = "https://page.example"
    async with serving(tmp_path, server={"allowed_origins": [page], "token": TOKEN}) as served:
        asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
        preflight = await served.http.options("/api/predict/upload", headers=asked)
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == page
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        for headers, status in (({}, 401), (BEARER, 422)):
            response = await served.http.post(
                "/api/predict/realtime", json={}, headers={"Origin": page, **headers}
            )
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == page
            assert "Origin" in response.headers["Vary"]


async def test_a_preflight_of_a_foreign_origin_allows_nothing(tmp_path):
    """The browser finds no permission in the answer."""
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with serving(tmp_path) as served:
        response = await served.http.options("/api/predict/upload", headers=asked)
        assert not [name for name in response.headers if name.startswith("Access-Control")]

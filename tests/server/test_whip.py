import asyncio
import sys
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from fac_stream.events import EndReason
from fac_stream.server.webrtc import MAX_MEDIA
from fac_stream.server.whip import FRAGMENT, MAX_BODY_BYTES, OFFER
from tests.fakes import scored_at
from tests.peers.whip import RATE, Voice, offer, place_call
from tests.server.serving import serving

SDP = {"Content-Type": OFFER}


@asynccontextmanager
async def sender(*kinds, seconds=60.0):
    """A WebRTC connection that sends tracks of these kinds, in this order; sound scores 0.9."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in kinds or ("audio",):
        sound = np.round(scored_at(0.9, seconds, RATE) * 32767)
        connection.addTransceiver(Voice(sound, 1.0) if kind == "audio" else kind, direction="sendonly")
    try:
        yield connection
    finally:
        await connection.close()


async def offered(*kinds):
    """An offer of these kinds."""
    async with sender(*kinds) as connection:
        return await offer(connection, "127.0.0.1")


async def post(served, body, path="/whip", headers=SDP):
    """Ask for a session."""
    return await served.http.post(path, data=body, headers=headers)


async def begun(served, connection, path="/whip"):
    """A session that media flows in; returns the response."""
    response = await post(served, await offer(connection, "127.0.0.1"), path)
    assert response.status == 201, await response.text()
    await connection.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
    return response


async def test_a_call_from_offer_to_delete(tmp_path):
    """Opus at 48 kHz is scored, DELETE completes the call, and then the session is gone."""
    async with serving(tmp_path) as served:
        voice = np.round(scored_at(0.9, 5.0) * 32767).astype("<i2").tobytes()
        await place_call(served.url, voice, "call-1")
        started, ended = await served.first("call.started"), await served.first("call.ended")

    assert (started.call_id, started.source, started.legs) == ("call-1", "whip", ["mixed"])
    assert started.sample_rate == RATE
    assert ended.reason is EndReason.COMPLETED
    assert ended.duration_s == pytest.approx(5.0, abs=1.0)
    assert ended.legs[0].peak_score == pytest.approx(0.9, abs=0.05)


async def test_the_answer_is_as_the_rfc_says(tmp_path):
    """RFC 9725, section 4.2: 201, where the session is, which ICE session it is, and all our candidates."""
    async with serving(tmp_path) as served:
        response = await post(served, await offered())
        answer = await response.text()

    assert response.status == 201
    assert response.content_type == OFFER
    assert response.headers["Location"].startswith("/whip/")
    assert response.headers["ETag"].startswith('"')
    assert response.headers["Accept-Patch"] == FRAGMENT
    assert "a=recvonly" in answer
    addresses = {line.split()[4] for line in answer.splitlines() if line.startswith("a=candidate")}
    assert addresses == {"127.0.0.1"}
    assert "opus/48000/2" in answer
    assert "PCMU" not in answer


@pytest.mark.parametrize("kinds", [("audio", "video"), ("video", "audio")])
async def test_video_is_declined_and_sound_is_heard(tmp_path, kinds):
    """Whichever comes first: OBS always offers both."""
    async with serving(tmp_path) as served, sender(*kinds) as connection:
        response = await begun(served, connection)
        await served.first("window.scored")
        directions = {each.kind: each.currentDirection for each in connection.getTransceivers()}
        await served.http.request("DELETE", response.headers["Location"])
        ended = await served.first("call.ended")

    assert directions == {"audio": "sendonly", "video": "inactive"}
    assert ended.legs[0].scored > 0


async def test_a_sender_that_closes_completes_its_call(tmp_path):
    """RTCP BYE and DTLS's goodbye are as good as DELETE."""
    async with serving(tmp_path) as served:
        async with sender() as connection:
            await begun(served, connection)
            await served.first("window.scored")
        ended = await served.first("call.ended")

    assert ended.reason is EndReason.COMPLETED


async def test_a_lost_sender_continues_its_call(tmp_path, monkeypatch):
    """No media in time is a loss; a POST with the same call id goes on with the call."""
    monkeypatch.setattr("fac_stream.server.webrtc.MEDIA_S", 0.05)
    async with serving(tmp_path, ingest={"reconnect_s": 60}) as served:
        first = await post(served, await offered(), "/whip?call_id=call-2")
        async with asyncio.timeout(30):
            while served.services.intake._open["call-2"].connected:
                await served.http.get("/api/health")
        monkeypatch.setattr("fac_stream.server.webrtc.MEDIA_S", 60.0)
        async with sender() as connection:
            second = await begun(served, connection, "/whip?call_id=call-2")
            await served.first("window.scored")
            gone = await served.http.get(first.headers["Location"])
            await served.http.request("DELETE", second.headers["Location"])
        ended = await served.first("call.ended")

    assert gone.status == 404
    assert len(served.of("call.started")) == 1
    assert ended.reason is EndReason.COMPLETED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sdp: "no description", "no session description|one audio track"),
        (lambda sdp: sdp.replace("a=sendonly", "a=recvonly"), "recvonly"),
        (lambda sdp: sdp.replace("opus", "speex"), "Opus"),
        (lambda sdp: sdp[: sdp.index("m=audio")], "one audio track"),
        (lambda sdp: sdp + sdp[sdp.index("m=audio") :], "one audio track"),
        (lambda sdp: sdp + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 100, "candidates"),
        (lambda sdp: sdp.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (lambda sdp: sdp.replace("a=fingerprint", "a=fingertips"), "DTLS"),
        (lambda sdp: sdp + sdp[sdp.index("m=audio") :].replace("m=audio", "m=application"), "only audio"),
    ],
)
async def test_offers_that_cannot_be_taken(tmp_path, change, words):
    """422 in words that help, and no call."""
    async with serving(tmp_path) as served:
        response = await post(served, change(await offered()))
        error = (await response.json())["error"]

    assert (response.status, error["code"]) == (422, "bad_offer")
    assert any(word in error["message"] for word in words.split("|"))
    assert served.events == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/whip", {"Content-Type": "application/json"}, b"{}", 415),
        ("/whip", SDP, b"\xff", 400),
        ("/whip", SDP, b"a" * (MAX_BODY_BYTES + 1), 413),
        ("/whip?call_id=%2F", SDP, b"v=0", 400),
    ],
)
async def test_requests_that_cannot_be_read(tmp_path, path, headers, body, status):
    """Kind, size and encoding are checked before anything is done with an offer."""
    async with serving(tmp_path) as served:
        assert (await post(served, body, path, headers)).status == status


async def test_trickled_candidates_are_conditional(tmp_path):
    """RFC 9725, section 4.3.1: 428 without If-Match, 412 with another, 422 for a restart, 204 otherwise."""
    candidate = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 1 {} 9 typ host\r\n"
    async with serving(tmp_path) as served:
        created = await post(served, await offered())
        session, tag = created.headers["Location"], created.headers["ETag"]

        async def patch(body, kind=FRAGMENT, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await served.http.request(
                "PATCH", session, data=body, headers={"Content-Type": kind, **headers}
            )
            return answer.status

        usual = candidate.format("127.0.0.1")
        assert await patch(usual) == 428
        assert await patch(usual, If_Match='"other"') == 412
        assert await patch(usual, If_Match=tag) == 204
        assert await patch(candidate.format("a.local"), If_Match=tag) == 204
        assert await patch(usual.replace(" udp ", " tcp "), If_Match=tag) == 204
        assert await patch("a=ice-ufrag:new\r\na=ice-pwd:" + "x" * 22, If_Match="*") == 422
        assert await patch("a=ice-ufrag:new\r\na=ice-pwd:" + "x" * 22, If_Match=tag) == 422
        assert await patch("a=mid:0\r\na=candidate:nonsense", If_Match=tag) == 400
        assert await patch("nonsense", If_Match=tag) == 400
        assert await patch(usual, kind=OFFER, If_Match=tag) == 415


async def test_a_full_daemon_says_when_to_come_back(tmp_path, monkeypatch):
    """503 with Retry-After, before a connection is made: sockets and keys are for who has a place."""
    async with serving(tmp_path, ingest={"max_calls": 1}) as served:
        await post(served, await offered())
        monkeypatch.setattr("fac_stream.server.webrtc.Peer.__init__", None)
        full = await post(served, await offered())

    assert (full.status, full.headers["Retry-After"]) == (503, "10")


async def test_a_call_that_gets_no_answer_ends(tmp_path):
    """An offer that only a connection can find fault with: 422, and its place is free again."""
    async with serving(tmp_path, ingest={"max_calls": 1}) as served:
        response = await post(served, (await offered()).replace("a=ice-ufrag", "a=ice-none"))
        ended = await served.first("call.ended")
        assert (await post(served, await offered())).status == 201

    assert (response.status, ended.reason) == (422, EndReason.PROTOCOL_ERROR)


async def test_a_connection_that_cannot_be_made_ends_its_call(tmp_path, monkeypatch):
    """At once, rather than after its idle time: it would take another call's place."""
    async with serving(tmp_path, ingest={"idle_timeout_s": 600}) as served:
        monkeypatch.setattr("fac_stream.server.webrtc.RTCPeerConnection", None)
        assert (await post(served, await offered())).status == 500
        ended = await served.first("call.ended")

    assert ended.reason is EndReason.SOURCE_LOST


async def test_a_call_id_in_use_is_a_conflict(tmp_path, monkeypatch):
    """409 while the connection that has it is not stalled."""
    monkeypatch.setattr("fac_stream.calls.intake.STALLED_S", 600.0)
    async with serving(tmp_path) as served:
        await post(served, await offered(), "/whip?call_id=call-3")
        used = await post(served, await offered(), "/whip?call_id=call-3")

    assert used.status == 409


async def test_addresses_say_what_they_take(tmp_path):
    """GET answers with nothing, OPTIONS with the type of an offer, and an unknown session is 404."""
    async with serving(tmp_path) as served:
        assert (await served.http.get("/whip")).status == 204
        options = await served.http.options("/whip")
        assert (options.status, options.headers["Accept-Post"]) == (204, OFFER)
        for method in ("GET", "PATCH", "DELETE"):
            assert (await served.http.request(method, "/whip/none")).status == 404


async def test_the_token_is_asked_for(tmp_path):
    """Endpoint and sessions are behind the daemon's token."""
    async with serving(tmp_path, server={"token": "0123456789abcdef"}) as served:
        assert (await post(served, await offered())).status == 401
        assert (await served.http.request("DELETE", "/whip/none")).status == 401
        bearer = {**SDP, "Authorization": "Bearer 0123456789abcdef"}
        assert (await post(served, await offered(), headers=bearer)).status == 201


async def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    """501 where the optional aiortc is missing."""
    body = await offered()
    monkeypatch.delitem(sys.modules, "fac_stream.server.webrtc")
    monkeypatch.setitem(sys.modules, "aiortc", None)
    async with serving(tmp_path) as served:
        response = await post(served, body)

    assert response.status == 501
    assert "fac-stream[whip]" in await response.text()


async def test_a_long_line_of_candidates_holds_up_nobody(tmp_path):
    """Names in an offer are looked for in a time that grows with its length, not with its square."""
    line = "a=candidate:1 1 udp 1 x.local 1 typ host " + "x.local " * 7000
    async with serving(tmp_path) as served:
        began = time.monotonic()
        response = await post(served, await offered() + line)
    assert response.status == 201
    assert time.monotonic() - began < 20


async def test_an_offer_of_many_streams_is_refused(tmp_path):
    """Each would get sockets of its own."""
    async with serving(tmp_path) as served:
        video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\n"
        response = await post(served, await offered() + video * MAX_MEDIA)
        assert response.status == 422
        assert "media lines" in await response.text()


async def test_a_user_agent_that_is_no_text_is_left_out(tmp_path):
    """It could not be told to anybody, and with it no event or list of calls."""
    async with serving(tmp_path) as served:
        body = (await offered()).encode()
        url = urlsplit(served.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        head = f"POST /whip HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: {OFFER}\r\nUser-Agent: a"
        writer.write(head.encode() + b"\xff\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert b" 201 " in await reader.readline()
        writer.close()
        assert (await served.first("call.started")).metadata == {}
        assert (await served.http.get("/api/calls")).status == 200

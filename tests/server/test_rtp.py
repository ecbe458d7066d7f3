import pytest

from fac_stream.audio.codec import STATIC
from fac_stream.listeners.rtp import call_format
from tests.listeners.rtp_room import http, listening, until
from tests.peers.rtp import place_call
from tests.server.serving import voice

PCMU = {0: STATIC[0]}
MULAW = call_format({"mixed": PCMU})


@pytest.mark.parametrize(
    "codec", ["PCMU/8000", "PCMA/8000", "G722/8000", "L16/16000", "L16/44100", "opus/48000/2"]
)
async def test_a_call_asked_for_over_http(tmp_path, codec):
    """POST, packets, DELETE: one call under the given id, scored, complete, nothing lost."""
    async with listening(tmp_path) as (served, listener), http(served, listener) as url:
        counts = await place_call(url, voice(0.7, 4), "c-1", pace=8, codec=codec)
        ended = await served.first("call.ended")

        assert counts["call_id"] == "c-1"
        assert counts["legs"]["mixed"]["received"] >= 200
        assert counts["legs"]["mixed"]["lost"] == 0
        assert (ended.call_id, ended.reason, ended.lost_s) == ("c-1", "completed", 0.0)
        assert ended.duration_s == pytest.approx(4.0, abs=0.05)
        scored = served.of("window.scored")
        assert scored
        assert all(window.score == pytest.approx(0.7, abs=0.02) for window in scored)
        await until(lambda: not [port for port in listener._open if not port.closed])


async def test_an_offer_is_answered(tmp_path):
    """An SDP offer of two streams: each leg its port, the answer with labels, to receive only."""
    offer = (
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 5000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\na=label:1\r\n"
        "m=video 5002 RTP/AVP 31\r\n"
        "m=audio 5004 RTP/AVP 0\r\na=sendonly\r\na=label:2\r\n"
    )
    async with (
        listening(tmp_path, advertise="192.0.2.9") as (served, listener),
        http(served, listener) as url,
    ):
        body = {"sdp": offer, "call_id": "c-2", "metadata": {"queue": "claims"}}
        answer = await served.http.post(url + "api/rtp", json=body)
        said = await answer.json()
        started = await served.first("call.started")
        gone = await served.http.request("DELETE", url + "api/rtp/c-2")

    ports = [said["legs"][leg]["port"] for leg in ("caller", "agent")]
    assert answer.status == 201
    assert answer.headers["Location"] == "/api/rtp/c-2"
    assert [leg["host"] for leg in said["legs"].values()] == ["192.0.2.9"] * 2
    assert (started.metadata, started.legs) == ({"queue": "claims"}, ["caller", "agent"])
    assert (started.sample_rate, started.encoding) == (8000, "mulaw")
    lines = said["sdp"].split("\r\n")
    assert [line for line in lines if line[:2] in ("m=", "c=")] == [
        "c=IN IP4 192.0.2.9",
        f"m=audio {ports[0]} RTP/AVP 0 101",
        "m=video 0 RTP/AVP 31",
        f"m=audio {ports[1]} RTP/AVP 0",
    ]
    assert lines.count("a=recvonly") == 2
    assert [line for line in lines if line.startswith("a=label")] == ["a=label:1", "a=label:2"]
    assert gone.status == 200


async def test_without_a_body_there_is_one_leg_and_the_usual_codecs(tmp_path):
    """The shortest request: what RFC 3551 fixes, described by an SDP that a sender can read."""
    async with listening(tmp_path) as (served, listener), http(served, listener) as url:
        said = await (await served.http.post(url + "api/rtp")).json()

        assert list(said["legs"]) == ["mixed"]
        assert said["call_id"].startswith("rtp-")
        assert f"m=audio {said['legs']['mixed']['port']} RTP/AVP 0 8 9 10 11\r\n" in said["sdp"]
        assert "a=recvonly\r\n" in said["sdp"]
        await served.http.request("DELETE", url + f"api/rtp/{said['call_id']}")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_json"),
        (b"[]", 422, "bad_fields"),
        (b'{"legs": []}', 422, "bad_fields"),
        (b'{"legs": ["a", "a"]}', 422, "bad_fields"),
        (b'{"legs": ["A b"]}', 422, "bad_fields"),
        (b'{"call_id": "a b"}', 422, "bad_fields"),
        (b'{"codecs": {"0": "PCMU"}}', 422, "bad_fields"),
        (b'{"codecs": {"18": "G729/8000"}}', 422, "bad_fields"),
        (b'{"codecs": {"200": "PCMU/8000"}}', 422, "bad_fields"),
        (b'{"codecs": {"0": "PCMU/8000"}, "sdp": "v=0"}', 422, "bad_fields"),
        (b'{"sdp": "hello"}', 422, "bad_fields"),
        (b'{"sdp": "v=0\\nm=audio 1 RTP/SAVP 0\\n"}', 422, "bad_fields"),
        (b'{"sdp": "v=0\\nm=audio 1 RTP/AVP 0\\n", "legs": ["a", "b"]}', 422, "bad_fields"),
        (b'{"port": 5000}', 422, "bad_fields"),
        (b'{"legs": ["a", "b", "c", "d", "e", "f", "g", "h"]}', 503, "refused"),
    ],
)
async def test_bad_requests_are_refused_and_cost_no_port(tmp_path, body, status, code):
    """Each with a status, a code and words; no call is begun and every port is free afterwards."""
    async with listening(tmp_path, pairs=4) as (served, listener), http(served, listener) as url:
        answer = await served.http.post(url + "api/rtp", data=body)

        assert answer.status == status
        assert (await answer.json())["error"]["code"] == code
        assert served.of("call.started") == []
        for _ in range(4):
            listener.open_port(PCMU, "mixed", print, MULAW)


async def test_who_may_not_call_gets_no_port(tmp_path):
    """A call id in use, a full house, an unknown call, RTP switched off: said, and every port given back."""
    async with listening(tmp_path, ingest={"max_calls": 1}) as (served, listener):
        async with http(served, listener) as url:
            await served.http.post(url + "api/rtp", json={"call_id": "one"})
            again = await served.http.post(url + "api/rtp", json={"call_id": "two"})
            unknown = await served.http.request("DELETE", url + "api/rtp/two")
            await served.http.request("DELETE", url + "api/rtp/one")
            await served.first("call.ended")
            twice = await served.http.request("DELETE", url + "api/rtp/one")
        async with http(served, None) as url:
            off = await served.http.post(url + "api/rtp", json={})

    assert [a.status for a in (again, unknown, twice, off)] == [503, 404, 404, 404]
    assert (await off.json())["error"]["code"] == "rtp_is_off"


async def test_a_call_id_in_use_is_a_conflict(tmp_path):
    """The second POST with the same id is told so."""
    async with listening(tmp_path) as (served, listener), http(served, listener) as url:
        await served.http.post(url + "api/rtp", json={"call_id": "one"})
        again = await served.http.post(url + "api/rtp", json={"call_id": "one"})

        assert again.status == 409
        assert len([port for port in listener._open if not port.closed]) == 1


async def test_a_silent_call_ends_and_gives_its_port_back(tmp_path):
    """Nobody deletes it, nothing comes: ``ingest.idle_timeout_s`` ends it and frees the port."""
    async with (
        listening(tmp_path, ingest={"idle_timeout_s": 0.05}) as (served, listener),
        http(served, listener) as url,
    ):
        await served.http.post(url + "api/rtp", json={"call_id": "one"})
        ended = await served.first("call.ended")
        await until(lambda: not [port for port in listener._open if not port.closed])
        gone = await served.http.request("DELETE", url + "api/rtp/one")

    assert ended.reason == "idle"
    assert gone.status == 404

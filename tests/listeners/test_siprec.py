import asyncio
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from fac_stream.config import Config
from fac_stream.config_systems import Rtp, Siprec
from fac_stream.errors import FacError
from fac_stream.listeners.rtp import RtpListener
from fac_stream.listeners.siprec import SiprecListener
from fac_stream.listeners.siprec_call import MAX_LEGS
from tests.listeners.rtp_room import free_ports
from tests.peers.siprec import PCMA, Client, RtpSender, body, g711, metadata, offer
from tests.server.serving import serving, voice

AGENTS = ["*@agents.example.com"]
BOTH = metadata(["1", "2"])
TWO = offer([40_000, 40_002])
ONE = offer([40_000])


@asynccontextmanager
async def listening(folder, *, ingest=None, rtp=None, **settings):
    """The listener on a free port, with RTP and calls behind it."""
    async with serving(folder, ingest=ingest or {}) as served:
        intake = served.services.intake
        media = RtpListener(Rtp.model_validate(rtp or {}), intake)
        siprec = Siprec.model_validate({"port": 0, "agents": AGENTS, **settings})
        listener = SiprecListener(siprec, intake, media)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part.run()) for part in (media, listener)]
            async with asyncio.timeout(30):
                while listener.address is None:  # noqa: ASYNC110 - nobody else waits for that
                    await asyncio.sleep(0)
            try:
                yield served, listener
            finally:
                for task in tasks:
                    task.cancel()


def client(listener, call_id="call-1@src", transport="udp"):
    """A recording client of the listener."""
    return Client(listener.address, call_id, transport)


def tone(score, seconds=2.2, payload=0):
    """Speech that gets this score, in G.711."""
    return g711(voice(score, seconds), payload)


def sender(line, payload=0):
    """RTP to a media line of an answer."""
    return RtpSender(line.address, line.port, payload)


async def speak(line, score, payload=0):
    """Somebody says something, as fast as one speaks."""
    async with sender(line, payload) as rtp:
        await rtp.play(tone(score, payload=payload))


def heard(served, leg):
    """The scores of a leg that differ, to two digits."""
    scores = [event.score for event in served.of("window.scored") if event.leg == leg]
    return sorted({round(score, 2) for score in scores if score is not None})


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_recording_session_is_a_call(tmp_path, transport):
    """Each person is a leg with their own audio; names and ids are told; BYE completes the call."""
    async with (
        listening(tmp_path) as (served, listener),
        client(listener, transport=transport) as src,
    ):
        one, other = await src.change("INVITE", TWO, BOTH)
        assert [(line.label, line.direction) for line in (one, other)] == [
            ("1", "recvonly"),
            ("2", "recvonly"),
        ]
        await asyncio.gather(speak(one, 0.9), speak(other, 0.1))
        assert (await src.ask("BYE")).status == 200
        ended = await served.first("call.ended")
        (started,) = served.of("call.started")
        assert (started.call_id, started.source) == ("call-1_src", "siprec")
        assert (started.legs, started.sample_rate) == (["caller", "agent"], 8_000)
        people = {person["leg"]: person for person in started.metadata["participants"]}
        assert people["caller"]["aor"] == "sip:+15550100@trunk.example.com"
        assert people["agent"]["name"] == "Bob Agent"
        assert started.metadata["sip_call_id"] == "call-1@src"
        assert ended.reason == "completed"
        assert heard(served, "caller") == [0.9]
        assert heard(served, "agent") == [0.1]


async def test_what_comes_on_hold_is_not_heard(tmp_path):
    """Music between hold and resumption is nobody's; however long it lasts, the call goes on afterwards."""
    async with (
        listening(tmp_path, ingest={"idle_timeout_s": 2.0}) as (served, listener),
        client(listener) as src,
        AsyncExitStack() as stack,
    ):
        (line,) = await src.change("INVITE", ONE, metadata(["1"]))
        rtp = await stack.enter_async_context(sender(line))
        await rtp.play(tone(0.9))
        (held,) = await src.change("INVITE", offer([40_000], direction="inactive"), metadata(["1"]))
        assert (held.direction, held.port) == ("inactive", line.port)
        await rtp.play(tone(0.0, seconds=3.0))
        (again,) = await src.change("INVITE", ONE, metadata(["1"]))
        assert (again.direction, again.port) == ("recvonly", line.port)
        await rtp.play(tone(0.9))
        await src.ask("BYE")
        ended = await served.first("call.ended")
        assert heard(served, "p1") == [0.9]
        assert ended.lost_s >= 2.0
        assert ended.reason == "completed"


async def test_a_stream_may_join_and_leave(tmp_path):
    """A re-INVITE adds a port and a leg; port 0 gives it back; the other stays where it is."""
    async with listening(tmp_path) as (served, listener), client(listener) as src:
        (first,) = await src.change("INVITE", ONE, metadata(["1"]))
        same, added = await src.change("INVITE", TWO, metadata(["2"], mode="partial"))
        assert (same.port, added.direction) == (first.port, "recvonly")
        await asyncio.gather(speak(same, 0.9), speak(added, 0.1))
        left, gone = await src.change("UPDATE", TWO.replace("audio 40002", "audio 0"), metadata(["1"]))
        assert (left.port, gone.port) == (first.port, 0)
        await src.ask("BYE")
        ended = await served.first("call.ended")
        assert [leg.leg for leg in ended.legs] == ["p1", "agent"]
        assert heard(served, "agent") == [0.1]


async def test_who_takes_over_is_another_leg(tmp_path):
    """After a transfer the same stream carries another person, who inherits no decision."""
    async with (
        listening(tmp_path) as (served, listener),
        client(listener) as src,
        AsyncExitStack() as stack,
    ):
        _, line = await src.change("INVITE", TWO, BOTH)
        rtp = await stack.enter_async_context(sender(line))
        await rtp.play(tone(0.1))
        carol = BOTH.replace("part-2", "part-3").replace("sip:701@", "sip:702@")
        answer = await src.ask("UPDATE", carol, kind="application/rs-metadata+xml")
        assert (answer.status, answer.body) == (200, b"")
        await rtp.play(tone(0.9))
        await src.ask("BYE")
        await served.first("call.ended")
        assert heard(served, "agent") == [0.1]
        assert heard(served, "agent-2") == [0.9]


async def test_a_call_has_no_more_legs_than_it_can_have(tmp_path):
    """Who passes a line on without end is refused, and the call stays as it is."""
    async with listening(tmp_path) as (served, listener), client(listener) as src:
        await src.change("INVITE", TWO, BOTH)
        for turn in range(2, MAX_LEGS):
            people = BOTH.replace("part-2", f"part-2-{turn}")
            assert (await src.ask("UPDATE", people, kind="application/rs-metadata+xml")).status == 200
        people = BOTH.replace("part-2", "one too many")
        answer = await src.ask("UPDATE", people, kind="application/rs-metadata+xml")
        assert (answer.status, "legs" in answer.fields.first("Warning")) == (486, True)
        held, _ = await src.change("INVITE", TWO, BOTH.replace("part-2", f"part-2-{MAX_LEGS - 1}"))
        assert held.direction == "recvonly"
        assert (await src.ask("BYE")).status == 200
        assert (await served.first("call.ended")).reason == "completed"


async def test_media_moves_to_another_host_where_the_client_says_so(tmp_path):
    """Until then a third party is not heard, however silent the line is."""
    async with listening(tmp_path) as (served, listener), client(listener) as src:
        (line,) = await src.change("INVITE", ONE, metadata(["1"]))
        await speak(line, 0.1)
        moved = RtpSender(line.address, line.port, host="127.0.0.2")
        async with moved:
            await moved.play(tone(0.9))
            elsewhere = ONE.replace("c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.2")
            (same,) = await src.change("INVITE", elsewhere, metadata(["1"]))
            assert same.port == line.port
            await moved.play(tone(0.9))
        await src.ask("BYE")
        ended = await served.first("call.ended")
        assert heard(served, "p1") == [0.1, 0.9]
        assert all(event.start_s > 4 for event in served.of("window.scored") if (event.score or 0) > 0.5)
        assert ended.reason == "completed"


async def test_codecs_may_change(tmp_path):
    """A line with another codec gets another port and stays the same leg, later in the call."""
    async with listening(tmp_path) as (served, listener), client(listener) as src:
        (before,) = await src.change("INVITE", ONE, metadata(["1"]))
        await speak(before, 0.5)
        (after,) = await src.change("INVITE", offer([40_000], payload=PCMA), metadata(["1"]))
        assert after.port not in (0, before.port)
        await speak(after, 0.5, payload=PCMA)
        await src.ask("BYE")
        ended = await served.first("call.ended")
        assert [leg.leg for leg in ended.legs] == ["p1"]
        starts = [event.start_s for event in served.of("window.scored") if event.score is not None]
        assert starts == sorted(set(starts))
        assert max(starts) > 2.0


async def test_codecs_that_do_not_fit_the_call_are_refused(tmp_path):
    """A call at 8 kHz has no room for wideband that joins later: that line is declined, the others stay."""
    async with listening(tmp_path) as (_, listener), client(listener) as src:
        await src.change("INVITE", ONE, metadata(["1"]))
        wide = TWO.replace("40002 RTP/AVP 0", "40002 RTP/AVP 9")
        same, added = await src.change("INVITE", wide, BOTH)
        assert (same.direction, added.port) == ("recvonly", 0)
        assert (await src.ask("BYE")).status == 200


@pytest.mark.parametrize(
    ("limits", "key"),
    [({"ingest": {"max_calls": 1}}, "ingest.max_calls"), ({"max_per_host": 1}, "siprec.max_per_host")],
)
async def test_no_more_calls_than_allowed(tmp_path, limits, key):
    """The second of one allowed call, in all or of a host, is told to come again; the first goes on."""
    async with (
        listening(tmp_path, **limits) as (served, listener),
        client(listener, "first") as one,
        client(listener, "second") as other,
    ):
        await one.change("INVITE", ONE, metadata(["1"]))
        answer = await other.ask("INVITE", body(ONE, metadata(["1"])))
        assert (answer.status, answer.fields.first("Retry-After")) == (486, "10")
        assert key in answer.fields.first("Warning")
        assert (await one.ask("BYE")).status == 200
        await served.first("call.ended")
        await other.change("INVITE", ONE, metadata(["1"]))


async def test_no_port_left(tmp_path):
    """A call that needs two ports of one is no call; nor does a change take what is not there."""
    port = free_ports(2)
    async with (
        listening(tmp_path, rtp={"ports": (port, port + 1)}) as (served, listener),
        client(listener) as src,
    ):
        answer = await src.ask("INVITE", body(TWO, BOTH))
        assert answer.status == 486
        assert "listeners.rtp.ports" in answer.fields.first("Warning")
        assert served.events == []
        src.call_id = "call-2"
        (line,) = await src.change("INVITE", ONE, metadata(["1"]))
        assert line.port == port
        for _ in range(MAX_LEGS + 1):  # what was refused is no leg
            answer = await src.ask("INVITE", body(TWO, BOTH))
            assert (answer.status, "listeners.rtp.ports" in answer.fields.first("Warning")) == (486, True)
        assert (await src.ask("BYE")).status == 200
        assert (await served.first("call.ended")).reason == "completed"


async def test_a_change_that_fails_halfway_takes_nothing(tmp_path):
    """Another codec and another stream need two ports; where one is left, it stays for the next call."""
    port = free_ports(4)
    async with (
        listening(tmp_path, rtp={"ports": (port, port + 3)}) as (_, listener),
        client(listener) as src,
        client(listener, "call-2@src") as other,
    ):
        (line,) = await src.change("INVITE", ONE, metadata(["1"]))
        answer = await src.ask("INVITE", body(offer([40_000, 40_002], payload=PCMA), BOTH))
        assert answer.status == 486
        (another,) = await other.change("INVITE", ONE, metadata(["1"]))
        assert {line.port, another.port} == {port, port + 2}
        (same,) = await src.change("INVITE", ONE, metadata(["1"]))
        assert same.port == line.port


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_only_named_networks_may_connect(tmp_path, transport):
    """Others are forbidden, whatever they want."""
    async with (
        listening(tmp_path, allow=["192.0.2.0/24"]) as (served, listener),
        client(listener, transport=transport) as src,
    ):
        assert (await src.ask("INVITE", body(ONE, metadata(["1"])))).status == 403
        assert served.events == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_silent_call_is_hung_up(tmp_path, transport):
    """The client gets a BYE that says why."""
    async with (
        listening(tmp_path, ingest={"idle_timeout_s": 0.2}) as (served, listener),
        client(listener, transport=transport) as src,
    ):
        await src.change("INVITE", ONE, metadata(["1"]))
        async with asyncio.timeout(60):
            bye = await src.requests.get()
        assert bye.method == "BYE"
        assert "ingest.idle_timeout_s" in bye.fields.first("Warning")
        assert (await served.first("call.ended")).reason == "idle"
        assert (await src.ask("UPDATE")).status == 481


async def test_a_daemon_that_stops_hangs_up(tmp_path):
    """Clients are told when the listener is cancelled, and when the calls are."""
    async with listening(tmp_path) as (served, listener), client(listener) as src:
        await src.change("INVITE", ONE, metadata(["1"]))
        await served.services.intake.stop()
        async with asyncio.timeout(60):
            assert (await src.requests.get()).method == "BYE"
        assert (await served.first("call.ended")).reason == "shutdown"
        src.call_id, src.to = "call-2", f"<sip:srs@{listener.address}>"
        await src.change("INVITE", ONE, metadata(["1"]))
        listener._stop()
        async with asyncio.timeout(60):
            assert (await src.requests.get()).method == "BYE"


async def test_noise_disturbs_nobody(tmp_path):
    """Datagrams that are no SIP are passed over; a connection with such is closed."""
    async with (
        listening(tmp_path) as (_, listener),
        client(listener) as src,
        client(listener, transport="tcp") as other,
    ):
        for noise in (b"", b"\r\n\r\n", b"\x80" + bytes(171), b"GET / HTTP/1.1\r\n\r\n", b"INVITE"):
            src.send(noise)
        assert (await src.ask("OPTIONS")).status == 200
        other.send(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(60):
            while listener._connections:  # noqa: ASYNC110 - nobody else waits for that
                await asyncio.sleep(0.01)


async def test_bytes_of_a_connection_may_come_one_by_one(tmp_path):
    """TCP keeps no messages together."""
    async with listening(tmp_path) as (_, listener), client(listener, transport="tcp") as src:
        for byte in src.request("INVITE", body(ONE, metadata(["1"]))):
            src.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await src.answer()).status == 200


async def test_answers_name_an_address_that_can_be_reached(tmp_path):
    """Where it listens on all addresses, the one that SDP names; one of its own comes first."""
    everywhere = {"host": "0.0.0.0"}
    media = everywhere | {"advertise": "203.0.113.7"}
    for settings, expected in (({}, "203.0.113.7"), ({"advertise": "203.0.113.8"}, "203.0.113.8")):
        async with listening(tmp_path / expected, rtp=media, **everywhere, **settings) as (_, listener):
            address = listener.address.replace("0.0.0.0", "127.0.0.1")
            async with Client(address, "call-1") as src:
                (line,) = await src.change("INVITE", ONE, metadata(["1"]))
                assert line.address == "203.0.113.7"
                assert f"sip:{expected}:" in (await src.ask("INVITE")).fields.first("Contact")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_port_that_is_taken_is_told(tmp_path, kind):
    """TCP's or UDP's: the message names the setting."""
    async with serving(tmp_path) as served:
        intake = served.services.intake
        with socket.socket(type=kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind is socket.SOCK_STREAM:
                taken.listen()
            settings = Siprec(port=taken.getsockname()[1])
            with pytest.raises(FacError, match=r"listeners\.siprec\.port"):
                await SiprecListener(settings, intake, RtpListener(Rtp(), intake)).run()


def test_the_page_says_what_the_examples_say():
    """Each example is linked, and the configuration to paste is the file, and one that can be used."""
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs/connect/siprec.md").read_text(encoding="utf-8")
    for example in (root / "deploy/examples/siprec").iterdir():
        assert f"(../../deploy/examples/siprec/{example.name})" in page
    pasted = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert pasted == yaml.safe_load((root / "deploy/examples/siprec/config.yaml").read_text(encoding="utf-8"))
    assert Config.model_validate(pasted).listeners.siprec.port == 5080


async def test_forged_strangers_make_no_flood(tmp_path):
    """The first datagram is answered, for who sets things up; of those after it nobody hears."""
    async with listening(tmp_path, allow=["192.0.2.0/24"]) as (_, listener), client(listener) as src:
        with capture_logs() as lines:
            assert (await src.ask("OPTIONS")).status == 403
            for _ in range(20):
                src.send(src.request("OPTIONS"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(src.answer(), 0.5)
    assert len(lines) == 1

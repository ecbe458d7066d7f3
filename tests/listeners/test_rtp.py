import struct

import numpy as np
import pytest
from pydantic import ValidationError

from fac_stream.audio.codec import STATIC, Codec
from fac_stream.audio.codecs import decode
from fac_stream.audio.frames import Encoding
from fac_stream.config_systems import Rtp
from fac_stream.errors import ConfigError, FacError, RefusedError
from fac_stream.listeners.rtp import RtpListener, call_format
from tests.listeners.rtp_room import free_ports, listening, sender, sent, until
from tests.peers.rtp import packets
from tests.server.serving import serving, voice

PCMU = {0: STATIC[0]}
MULAW = call_format({"mixed": PCMU})


def audio(media, fmt):
    """All samples that were pushed."""
    return decode(b"".join(piece.data for piece in media), fmt.encoding, 1)[:, 0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["PCMU/8000"], ["PCMU/8000"]], (8000, "mulaw")),
        ([["PCMA/8000"]], (8000, "alaw")),
        ([["PCMU/8000"], ["PCMA/8000"]], (16_000, "pcm_s16le")),
        ([["PCMU/8000", "TELEPHONE-EVENT/8000", "G729/8000"]], (8000, "mulaw")),
        ([["G722/8000"]], (16_000, "pcm_s16le")),
        ([["OPUS/48000"], ["L16/16000"]], (16_000, "pcm_s16le")),
    ],
)
def test_the_format_fits_every_codec(names, expected):
    """One law throughout stays as it is; everything else becomes 16 kHz."""
    legs = {}
    for number, codecs in enumerate(names):
        parts = [codec.split("/") for codec in codecs]
        legs[f"leg{number}"] = {i: Codec(name, int(rate)) for i, (name, rate) in enumerate(parts)}

    fmt = call_format(legs)

    assert (fmt.sample_rate, fmt.encoding.value) == expected
    assert fmt.legs == tuple(legs)


async def test_a_port_hands_out_the_audio_of_its_sender(tmp_path):
    """Datagrams to an even port of the range become the leg's audio; closing hands out the rest."""
    async with listening(tmp_path) as (_, listener):
        media = []
        port = listener.open_port(PCMU, "caller", media.append, MULAW)
        datagrams = packets(voice(0.5, 2), "PCMU/8000")
        with sender() as udp:
            await sent(udp, port.port, datagrams)
            await until(lambda: port.counts["received"] == len(datagrams))
            port.close()

        assert port.port % 2 == 0
        assert (media[0].at, media[0].leg) == (0, "caller")
        assert np.array_equal(
            audio(media, MULAW), decode(b"".join(d[12:] for d in datagrams), Encoding.MULAW, 1)[:, 0]
        )


async def test_what_arrived_before_the_end_counts(tmp_path):
    """Datagrams that the socket still holds when the port is closed are heard."""
    async with listening(tmp_path) as (_, listener):
        media = []
        port = listener.open_port(PCMU, "caller", media.append, MULAW)
        with sender() as udp:
            for datagram in packets(voice(0.5, 1), "PCMU/8000"):
                udp.sendto(datagram, ("127.0.0.1", port.port))
            port.close()

        assert len(audio(media, MULAW)) == 8000


async def test_rtcp_strangers_and_junk_are_counted_and_change_nothing(tmp_path):
    """Muxed RTCP, RTCP on the next port, another sender, STUN and noise leave the audio as it is."""
    async with listening(tmp_path) as (_, listener):
        media = []
        port = listener.open_port(PCMU, "caller", media.append, MULAW)
        report = struct.pack("!BBHIQIII", 0x80, 200, 6, 1, 0, 0, 0, 0)
        with sender() as udp, sender() as thief:
            for turn, datagram in enumerate(packets(voice(0.5, 1), "PCMU/8000")):
                await sent(udp, port.port, [datagram])
                await sent(udp, port.port + 1, [report])
                await until(lambda turn=turn: port.counts["received"] >= turn)
                if turn > 2:
                    await sent(thief, port.port, [datagram, report, b"\0" * 20, b""])
            await until(lambda: port.counts["ignored"] == 3 * 47)
            port.close()

        assert len(audio(media, MULAW)) == 8000
        assert port.counts == {
            "received": 50,
            "lost": 0,
            "late": 0,
            "doubled": 0,
            "unknown": 0,
            "foreign": 47,
            "ignored": 141,
        }


async def test_hosts_that_may_not_send_are_not_heard(tmp_path):
    """``allow`` is asked before anything else."""
    async with listening(tmp_path, allow=["192.0.2.0/24"]) as (_, listener):
        media = []
        port = listener.open_port(PCMU, "caller", media.append, MULAW)
        with sender() as udp:
            await sent(udp, port.port, packets(voice(0.5, 1), "PCMU/8000"))
            await until(lambda: port.counts["ignored"] == 50)
            port.close()

        assert media == []


async def test_hold_is_not_heard(tmp_path):
    """Music on hold belongs to no caller: it is ignored until the line is taken up again."""
    async with listening(tmp_path) as (_, listener):
        media = []
        port = listener.open_port(PCMU, "caller", media.append, MULAW)
        datagrams = packets(voice(0.5, 3), "PCMU/8000")
        with sender() as udp:
            await sent(udp, port.port, datagrams[:50])
            await until(lambda: port.counts["received"] == 50)
            port.hold(True)
            await sent(udp, port.port, datagrams[50:100])
            await until(lambda: port.counts["ignored"] == 50)
            port.hold(False)
            await sent(udp, port.port, datagrams[100:])
            await until(lambda: port.counts["received"] == 100)
            port.close()

        assert len(audio(media, MULAW)) == 16_000


async def test_the_range_is_bounded_and_ports_come_back(tmp_path):
    """As many legs as pairs; then a refusal that says what to do, until one is closed."""
    async with listening(tmp_path, pairs=3) as (_, listener):
        ports = [listener.open_port(PCMU, "mixed", print, MULAW) for _ in range(3)]
        assert len({port.port for port in ports}) == 3
        with pytest.raises(RefusedError, match="widen"):
            listener.open_port(PCMU, "mixed", print, MULAW)
        ports[1].close()
        ports[1].close()
        assert listener.open_port(PCMU, "mixed", print, MULAW).port == ports[1].port


async def test_a_port_rests_before_it_is_used_again(tmp_path):
    """Stragglers of a call do not find the next one at their port: others of the range come first."""
    async with listening(tmp_path, pairs=3) as (_, listener):
        used = []
        for _ in range(3):
            port = listener.open_port(PCMU, "mixed", print, MULAW)
            used.append(port.port)
            port.close()
        assert len(set(used)) == 3


async def test_one_port_makes_a_call_of_each_sender(tmp_path):
    """Two SSRCs of one address and one of another: three calls, scored, ended when nothing comes."""
    port = free_ports(2)
    async with listening(tmp_path, port=port, ingest={"idle_timeout_s": 0.5}) as (served, listener):
        calls = [
            packets(voice(score, 3), codec, ssrc=ssrc)
            for score, codec, ssrc in ((0.2, "PCMU/8000", 1), (0.8, "PCMA/8000", 2), (0.5, "G722/8000", 3))
        ]
        with sender() as one, sender() as other:
            for three in zip(*calls, strict=True):
                for udp, datagram in zip((one, one, other), three, strict=True):
                    await sent(udp, port, [datagram])
            await until(lambda: len(served.of("call.ended")) == 3)

        assert listener.address == f"127.0.0.1:{port}"
        started = {event.metadata["ssrc"]: event for event in served.of("call.started")}
        assert {e.metadata["codec"] for e in started.values()} == {"PCMU/8000", "PCMA/8000", "G722/8000"}
        for ssrc, event in started.items():
            assert event.call_id.startswith(f"rtp-{ssrc}-")
            assert (event.source, event.legs, event.sample_rate) == ("rtp", ["mixed"], 16_000)
        assert started["00000001"].metadata["remote"] == started["00000002"].metadata["remote"]
        expected = {"00000001": 0.2, "00000002": 0.8, "00000003": 0.5}
        for window in served.of("window.scored"):
            assert window.score == pytest.approx(expected[window.call_id.split("-")[1]], abs=0.05)
        assert all((e.reason, e.lost_s) == ("idle", 0.0) for e in served.of("call.ended"))
        assert [e.duration_s for e in served.of("call.ended")] == pytest.approx([3.0] * 3, abs=0.03)


async def test_stray_packets_make_no_call(tmp_path):
    """One packet of each of many SSRCs, or of unknown payload types, opens nothing."""
    port = free_ports(2)
    async with listening(tmp_path, port=port) as (served, listener):
        with sender() as udp:
            for ssrc in range(300):
                header = struct.pack("!BBHII", 0x80, 0, ssrc, 0, ssrc)
                await sent(udp, port, [header + bytes(160)])
            for number in range(50):
                await sent(udp, port, [struct.pack("!BBHII", 0x80, 99, number, 0, 7) + bytes(160)])
            await sent(udp, port, packets(voice(0.5, 1), "PCMU/8000", ssrc=8))
            await until(lambda: served.of("call.started"))

        assert [event.metadata["ssrc"] for event in served.of("call.started")] == ["00000008"]
        assert len(listener._shared._probation._waiting) <= 64


@pytest.mark.parametrize("limits", [{"ingest": {"max_calls": 1}}, {"max_per_host": 1}])
async def test_a_full_house_refuses_senders_without_asking_again_and_again(tmp_path, limits):
    """Beyond the limits a sender is turned away; its further packets cost next to nothing."""
    port = free_ports(2)
    async with listening(tmp_path, port=port, **limits) as (served, listener):
        with sender() as udp:
            for ssrc in (1, 2):
                await sent(udp, port, packets(voice(0.5, 1), "PCMU/8000", ssrc=ssrc))
            await until(lambda: listener._shared._refused)

        assert len(served.of("call.started")) == 1


async def test_configured_payload_types_of_the_one_port(tmp_path):
    """What senders mean by a dynamic number the configuration says."""
    port = free_ports(2)
    async with listening(tmp_path, port=port, codecs={96: "L16/16000"}) as (served, _):
        with sender() as udp:
            await sent(udp, port, packets(voice(0.5, 3), "L16/16000"))
            window = await served.first("window.scored")

        assert window.score == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("text", ["L16", "G729/8000", "PCMU/16000"])
async def test_codecs_that_cannot_be_decoded_are_a_mistake_of_the_configuration(tmp_path, text):
    """Said at the start, with the key, not at the first packet."""
    async with serving(tmp_path) as served:
        listener = RtpListener(
            Rtp.model_validate({"port": free_ports(2), "codecs": {96: text}}), served.services.intake
        )
        with pytest.raises(ExceptionGroup) as raised:
            await listener.run()
        assert raised.group_contains(ConfigError, match=r"listeners\.rtp\.codecs\.96")


async def test_an_address_that_is_not_ours_is_said_at_the_start(tmp_path):
    """Nothing of the range would ever open: better told at once."""
    async with serving(tmp_path) as served:
        with pytest.raises(FacError, match=r"192\.0\.2\.1"):
            await RtpListener(Rtp(host="192.0.2.1"), served.services.intake).run()


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"ports": (40_000, 40_000)},
        {"ports": (40_001, 40_002)},
        {"ports": (0, 10)},
        {"jitter_ms": 400},
        {"advertise": "a\r\nb"},
        {"codecs": {200: "L16/16000"}},
    ],
)
def test_bad_settings_are_refused(settings):
    """A range without a pair, an address that cannot be told, a patience beyond its bound."""
    with pytest.raises(ValidationError):
        Rtp.model_validate(settings)

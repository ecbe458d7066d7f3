import asyncio
from contextlib import suppress

import pytest

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.calls import intake
from fac_stream.errors import ConflictError, ProtocolError, RefusedError
from fac_stream.protocols.dialogue import Media, Start
from tests.server.serving import serving

RATE = 8000
FORMAT = AudioFormat(RATE, Encoding.MULAW, ("caller", "agent"))
SECOND = bytes(range(256)) * 31 + bytes(64)


def start(call_id="c", fmt=FORMAT):
    """What a peer says."""
    return Start(fmt, call_id, {"from": "+491701234567"})


async def test_a_call_from_open_to_end(tmp_path):
    """Both legs' windows are published; the listener hears this call's events; the end completes it."""
    async with serving(tmp_path) as served:
        heard = []
        session = served.services.intake.open("twilio", start())
        session.listen(heard.append)
        for _ in range(3):
            session.push_nowait(Media(SECOND, "caller"))
            session.push_nowait(Media(SECOND, "agent"))
        session.end()
        ended = await session.ended()
        assert (ended.reason, ended.duration_s, ended.lost_s) == ("completed", 3.0, 0.0)
        assert {event.leg for event in served.of("window.scored")} == {"caller", "agent"}
        assert [event.type for event in heard] == [event.type for event in served.events]
        assert len(served.services.calls) == 0


async def test_a_lost_connection_is_continued_by_the_next(tmp_path):
    """Audio of two connections is one call: the second's lies after a gap, and the first counts no more."""
    async with serving(tmp_path) as served:
        first = served.services.intake.open("twilio", start())
        first.push_nowait(Media(3 * SECOND, "caller"))
        first.lose("cable")
        second = served.services.intake.open("twilio", start())
        assert second.resumed
        assert await first.ended() is None
        first.push_nowait(Media(3 * SECOND, "caller"))
        first.end()
        second.push_nowait(Media(3 * SECOND, "caller", at=RATE))
        second.end()
        ended = await second.ended()
        assert (ended.reason, ended.duration_s, ended.lost_s) == ("completed", 7.0, 1.0)
        assert len(served.of("call.started")) == 1


async def test_nobody_comes_back(tmp_path):
    """A lost call whose peer stays away ends as lost."""
    async with serving(tmp_path, ingest={"reconnect_s": 0.02}) as served:
        session = served.services.intake.open("twilio", start())
        session.push_nowait(Media(SECOND, "caller"))
        session.lose("the connection was lost")
        ended = await session.ended()
        assert (ended.reason, ended.detail) == ("source_lost", "the connection was lost")


@pytest.mark.parametrize(
    ("kind", "fmt"),
    [("audiosocket", FORMAT), ("twilio", AudioFormat(16_000, Encoding.MULAW, ("caller",)))],
)
async def test_another_kind_of_call_does_not_continue_it(tmp_path, kind, fmt):
    """Same id, but another protocol or rate: that is another call, and the id is taken."""
    async with serving(tmp_path) as served:
        served.services.intake.open("twilio", start()).lose("cable")
        with pytest.raises(ConflictError):
            served.services.intake.open(kind, start(fmt=fmt))


async def test_a_call_id_belongs_to_one_live_connection(tmp_path, monkeypatch):
    """While audio comes, nobody else may take it over; once it stalls, its peer may have reconnected."""
    async with serving(tmp_path) as served:
        served.services.intake.open("twilio", start()).push_nowait(Media(SECOND, "caller"))
        with pytest.raises(ConflictError):
            served.services.intake.open("twilio", start())
        monkeypatch.setattr(intake, "STALLED_S", -1.0)
        assert served.services.intake.open("twilio", start()).resumed


async def test_a_new_connection_may_be_quicker_than_the_news(tmp_path, monkeypatch):
    """Who comes back before the loss was noticed waits for it; who finds a live connection is told so."""
    async with serving(tmp_path) as served, asyncio.TaskGroup() as group:
        calls = served.services.intake
        first = calls.open("twilio", start())
        first.push_nowait(Media(SECOND, "caller"))
        waiting = group.create_task(calls.vacated("c"))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.lose("cable")
        await waiting
        assert calls.open("twilio", start()).resumed
        monkeypatch.setattr(intake, "NEWS_S", 0.01)
        await calls.vacated("c")
        with pytest.raises(ConflictError):
            calls.open("twilio", start())


async def test_a_complete_call_is_neither_silent_nor_continued(tmp_path, monkeypatch):
    """What was said in full may take long to be scored; nobody is missed meanwhile, and nobody joins."""
    monkeypatch.setattr(intake, "LOOK_S", 0.0)
    monkeypatch.setattr(intake, "STALLED_S", -1.0)
    async with serving(tmp_path, ingest={"no_media_s": 1e-9}) as served:
        session = served.services.intake.open("twilio", start())
        session.push_nowait(Media(5 * SECOND, "caller"))
        session.end()
        with pytest.raises(ConflictError):
            served.services.intake.open("twilio", start())
        assert (await session.ended()).reason == "completed"
        assert served.of("health.changed") == []


async def test_who_waits_for_the_daemon_is_not_silent(tmp_path, monkeypatch):
    """A recording sent ahead of real time is held back where the daemon is slow: that is no silence."""
    monkeypatch.setattr(intake, "LOOK_S", 0.0)
    async with serving(tmp_path, ingest={"no_media_s": 1e-9, "queue_s": 1.0}) as served:
        session = served.services.intake.open("twilio", start())
        monkeypatch.setattr(type(session._call.source.queue), "full", True)
        for _ in range(10):
            await asyncio.sleep(0)
        assert served.of("health.changed") == []
        assert served.services.intake.problems == []


async def test_the_number_of_calls_is_bounded(tmp_path):
    """Beyond max_calls the peer is told to try later."""
    async with serving(tmp_path, ingest={"max_calls": 1}) as served:
        served.services.intake.open("twilio", start("a"))
        with pytest.raises(RefusedError):
            served.services.intake.open("twilio", start("b"))


async def test_a_broken_protocol_ends_its_call_after_its_audio(tmp_path):
    """What came before the error is scored; the error is told."""
    async with serving(tmp_path) as served:
        session = served.services.intake.open("twilio", start())
        session.push_nowait(Media(3 * SECOND, "caller"))
        session.fail(ProtocolError("gibberish"))
        ended = await session.ended()
        assert (ended.reason, ended.detail) == ("protocol_error", "gibberish")
        assert served.of("window.scored")


async def test_silence_is_told_and_taken_back(tmp_path, monkeypatch):
    """A connected source without audio is a health event; so is its audio when it comes."""
    monkeypatch.setattr(intake, "LOOK_S", 0.01)
    async with serving(tmp_path, ingest={"no_media_s": 0.3}) as served:
        session = served.services.intake.open("twilio", start())
        assert (await served.first("health.changed")).status == "no_media"
        assert "no audio" in served.services.intake.problems[0]
        async with asyncio.timeout(30):
            while len(served.of("health.changed")) < 2:
                served.changed.clear()
                session.push_nowait(Media(SECOND, "caller"))
                await asyncio.wait([asyncio.ensure_future(served.changed.wait())], timeout=0.05)
        assert served.of("health.changed")[1].status == "ok"


async def test_a_pause_on_purpose_is_no_silence(tmp_path, monkeypatch):
    """A sender that says that it pauses is neither reported nor ended as idle, as long as it says so."""
    monkeypatch.setattr(intake, "LOOK_S", 0.01)
    async with serving(tmp_path, ingest={"no_media_s": 0.05, "idle_timeout_s": 0.5}) as served:
        session = served.services.intake.open("audiohook", start())
        await session.push(Media(SECOND, "caller"))
        for _ in range(20):
            await session.push(Media(b"", "caller", at=RATE))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await session.ended()
        assert served.services.intake.problems == []
        session.end()
        assert (await session.ended()).reason == "completed"
        assert not served.of("health.changed")


async def test_stopping_ends_calls_as_shutdown(tmp_path):
    """Whoever waits for the end hears that the daemon stops."""
    async with serving(tmp_path) as served:
        session = served.services.intake.open("twilio", start())
        await served.first("call.started")
        await served.services.intake.stop()
        assert await session.ended() is None
        assert served.of("call.ended")[0].reason == "shutdown"


async def test_windows_made_up_too_much_are_not_scored(tmp_path):
    """Two seconds of which half is concealment are skipped as loss; whole ones are scored."""
    async with serving(tmp_path) as served:
        session = served.services.intake.open("rtp", start())
        session.push_nowait(Media(2 * SECOND, "caller"))
        session.push_nowait(Media(SECOND, "caller", concealed=True))
        session.push_nowait(Media(SECOND, "caller"))
        session.end()
        await session.ended()
        skipped = [event.skipped for event in served.of("window.scored")]
        assert skipped[0] is None
        assert skipped[2:] == ["loss"] * len(skipped[2:])

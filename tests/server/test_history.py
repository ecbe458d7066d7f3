import threading

import pytest

from tests.history.keeping import ended, raised, started, window
from tests.server.serving import serving


@pytest.fixture
async def served(tmp_path):
    """A server with a history of three calls, of which the last goes on."""
    settings = {"database": str(tmp_path / "history.db"), "max_points": 10}
    async with serving(tmp_path, history=settings) as it:
        for number, decision in enumerate(["human", "synthetic"]):
            it.services.bus.publish(started(f"call-{number}", {"from": f"+49 30 {number}"}))
            for index in range(400):
                it.services.bus.publish(window(index, call_id=f"call-{number}"))
            it.services.bus.publish(raised(f"alert-{number}", f"call-{number}"))
            it.services.bus.publish(ended(f"call-{number}", decision))
        it.services.bus.publish(started("call-2"))
        await it.services.recorder.drain()
        yield it


async def ids(served, query=""):
    """What a search gives."""
    answer = await served.http.get(f"api/history{query}")
    assert answer.status == 200
    return [call["call_id"] for call in (await answer.json())["calls"]]


async def test_calls_are_searched(served):
    """Newest first; by state, number and time."""
    assert await ids(served) == ["call-2", "call-1", "call-0"]
    assert await ids(served, "?state=synthetic") == ["call-1"]
    assert await ids(served, "?state=active") == ["call-2"]
    assert await ids(served, "?number=%2B49300") == ["call-0"]
    assert await ids(served, "?since=1h&until=2999-01-01") == ["call-2", "call-1", "call-0"]
    assert await ids(served, "?until=1h") == []


async def test_pages_follow_one_another(served):
    """``before`` leads to the next page until there is none."""
    pages, before = [], ""
    while before is not None:
        answer = await (await served.http.get(f"api/history?limit=2{before and f'&before={before}'}")).json()
        pages.append([call["call_id"] for call in answer["calls"]])
        before = answer["before"]

    assert pages == [["call-2", "call-1"], ["call-0"]]


async def test_one_call_is_shown_whole(served):
    """With alerts, and a timeline of no more points than history.max_points says."""
    answer = await served.http.get("api/history/call-1")
    [call] = (await answer.json())["calls"]

    assert (call["decision"], call["end_reason"]) == ("synthetic", "completed")
    assert [it["alert_id"] for it in call["alerts"]] == ["alert-1"]
    assert 5 < len(call["timeline"]["caller"]) <= 10
    assert (await served.http.get("api/history/unknown")).status == 404


async def test_a_call_is_deleted(served):
    """It is gone, and everybody hears of it; one that goes on is not, and an unknown one is no fault."""
    answer = await served.http.request("DELETE", "api/history/call-0")
    assert (answer.status, await answer.json()) == (200, {"call_id": "call-0", "deleted": 1})
    assert await ids(served) == ["call-2", "call-1"]
    assert [(event.call_id, event.by) for event in served.of("call.deleted")] == [("call-0", "API 127.0.0.1")]

    answer = await served.http.request("DELETE", "api/history/call-2")
    assert (answer.status, (await answer.json())["error"]["code"]) == (409, "call_is_active")
    assert (await served.http.request("DELETE", "api/history/unknown")).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "state=fake",
        "sate=synthetic",
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=x",
        "limit=²",
        "before=99999999999999999",
        "since=soon",
        "until=",
        f"number={'1' * 201}",
    ],
)
async def test_bad_questions_are_told(served, query):
    """What cannot be meant is refused with a sentence."""
    answer = await served.http.get(f"api/history?{query}")

    assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_query")


async def test_a_disk_that_refuses_is_told(served, tmp_path):
    """The answer says why, and to come back."""
    (tmp_path / "history.db").unlink()
    (tmp_path / "history.db").mkdir()

    answer = await served.http.get("api/history")

    assert (answer.status, (await answer.json())["error"]["code"]) == (503, "storage")


async def test_a_question_and_a_write_do_not_wait_for_each_other(served):
    """While the one thread that writes is busy, calls are found and shown."""
    busy = threading.Event()
    served.services.recorder._database._thread.submit(busy.wait, 30)

    assert await ids(served) == ["call-2", "call-1", "call-0"]
    assert (await served.http.get("api/history/call-1")).status == 200
    busy.set()


async def test_without_a_history_there_is_none(tmp_path):
    """The question is answered with why; a deletion reaches whoever else keeps something."""
    async with serving(tmp_path) as served:
        answer = await served.http.get("api/history")
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "no_history")
        assert (await served.http.request("DELETE", "api/history/c")).status == 200
        assert [event.call_id for event in served.of("call.deleted")] == ["c"]


async def test_what_is_deleted_leaves_the_list_of_calls(tmp_path):
    """Memory forgets an ended call too."""
    async with serving(tmp_path) as served:
        async with served.connect("/ws/ingest") as socket:
            await socket.send('{"sample_rate":16000,"encoding":"pcm_s16le","channels":1,"call_id":"c"}')
            await socket.send('{"type":"end"}')
            async for _ in socket:
                pass
        await served.first("call.ended")
        assert (await served.http.get("api/calls/c")).status == 200

        await served.http.request("DELETE", "api/history/c")

        assert (await served.http.get("api/calls/c")).status == 404
        assert (await (await served.http.get("api/calls")).json())["calls"] == []

"""``/api/alerts``: what was raised, and what people say of it."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fac_stream.server.alerts import MAX_BODY_BYTES
from fac_stream.storage import database as database_module
from tests.fakes import a_decision
from tests.server.serving import serving

TOKEN = "a-token-of-some-length"
MARK = {"mark": "false_alarm", "by": "Ada", "note": "our own voice menu"}


async def raised(served, call_id="c1"):
    """An alert; its id."""
    served.services.bus.publish(a_decision(call_id=call_id))
    await served.services.desk.settle()
    return served.of("alert.raised")[-1].alert_id


async def listed(served, query=""):
    """The ids that are listed."""
    answer = await served.http.get(f"/api/alerts{query}")
    assert answer.status == 200, await answer.text()
    return [alert["alert_id"] for alert in (await answer.json())["alerts"]]


async def test_an_alert_is_listed_marked_and_shown(tmp_path):
    """The answer to the mark has it; so has the alert, and the bus tells it."""
    async with serving(tmp_path) as served:
        ids = [await raised(served, f"c{number}") for number in range(3)]
        answer = await served.http.post(f"/api/alerts/{ids[0]}/marks", json=MARK)
        event = await served.first("alert.marked")

        assert answer.status == 200
        record = await answer.json()
        assert (record["verdict"], record["acknowledged"], record["state"]) == ("false_alarm", True, "firing")
        assert record["raised"]["call_id"] == "c0"
        assert [(it["mark"], it["by"], it["note"]) for it in record["marks"]] == [tuple(MARK.values())]
        assert (event.alert_id, event.call_id, event.leg) == (ids[0], "c0", "caller")
        shown = await served.http.get(f"/api/alerts/{ids[0]}")
        assert await shown.json() == record
        assert await listed(served) == ids[::-1]
        assert await listed(served, f"?limit=1&before={ids[2]}") == [ids[1]]
        assert await listed(served, "?state=open&category=fraud") == [ids[2], ids[1]]
        assert await listed(served, "?call_id=c1") == [ids[1]]
        assert await listed(served, "?category=health") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "state=done", "category=x", "nope=1", f"call_id={'x' * 129}"],
)
async def test_a_question_that_is_none_is_told(tmp_path, query):
    """400 with what may be asked."""
    async with serving(tmp_path) as served:
        answer = await served.http.get(f"/api/alerts?{query}")
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_query")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"mark": "false_alarm"}',
        b'{"mark": "seen", "by": "Ada"}',
        b'{"mark": "acknowledged", "by": ""}',
        b'{"mark": "acknowledged", "by": "Ada\\n"}',
        b'{"mark": "acknowledged", "by": "Ada", "at": 1}',
        b'{"mark": "acknowledged", "by": "' + b"x" * 65 + b'"}',
        b'{"mark": "acknowledged", "by": "x", "note": "' + b"x" * 501 + b'"}',
        b'{"mark": "acknowledged", "by": "\xff"}',
    ],
)
async def test_a_mark_that_is_none_is_refused(tmp_path, body):
    """400, and nothing is marked."""
    async with serving(tmp_path) as served:
        alert_id = await raised(served)
        answer = await served.http.post(f"/api/alerts/{alert_id}/marks", data=body)

        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_mark")
        assert await listed(served, "?state=open") == [alert_id]


async def test_bodies_and_ids_have_a_limit(tmp_path):
    """413 for a body that is too long, 404 for what is no alert's id."""
    async with serving(tmp_path) as served:
        alert_id = await raised(served)
        long = await served.http.post(f"/api/alerts/{alert_id}/marks", data=b" " * (MAX_BODY_BYTES + 1))
        assert long.status == 413
        for name in ("none", "x" * 200, "%00", "..%2f"):
            answer = await served.http.post(f"/api/alerts/{name}/marks", json=MARK)
            assert (answer.status, (await answer.json())["error"]["code"]) == (404, "no_such_alert")
            assert (await served.http.get(f"/api/alerts/{name}")).status == 404


async def test_marks_need_the_token_and_our_own_page(tmp_path):
    """Like everything else that changes something."""
    async with serving(tmp_path, server={"token": TOKEN}) as served:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        alert_id = await raised(served)
        path = f"/api/alerts/{alert_id}/marks"

        assert (await served.http.get("/api/alerts")).status == 401
        assert (await served.http.post(path, json=MARK)).status == 401
        foreign = bearer | {"Origin": "https://elsewhere.example"}
        assert (await served.http.post(path, json=MARK, headers=foreign)).status == 403
        assert (await served.http.post(path, json=MARK, headers=bearer)).status == 200


async def test_a_mark_that_is_not_saved_is_not_taken(tmp_path, monkeypatch):
    """503 and when to try again, rather than a yes that a restart forgets."""
    monkeypatch.setattr(database_module, "BUSY_S", 0.0)
    path = tmp_path / "alerts.db"
    async with serving(tmp_path, database=path) as served:
        alert_id = await raised(served)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await served.http.post(f"/api/alerts/{alert_id}/marks", json=MARK)
        assert (answer.status, (await answer.json())["error"]["code"]) == (503, "not_saved")
        assert "Retry-After" in answer.headers
        assert (await served.http.post(f"/api/alerts/{alert_id}/marks", json=MARK)).status == 200


async def test_alerts_outlive_the_daemon(tmp_path):
    """The next one lists them, over and marked."""
    path = tmp_path / "alerts.db"
    async with serving(tmp_path, database=path) as served:
        alert_id = await raised(served)
        await served.http.post(f"/api/alerts/{alert_id}/marks", json=MARK)
    async with serving(tmp_path, database=path) as served:
        await served.services.desk.drain()
        record = await (await served.http.get(f"/api/alerts/{alert_id}")).json()

    assert (record["verdict"], record["raised"]["call_id"]) == ("false_alarm", "c1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5, deadline=None)
@given(bodies=st.lists(st.binary(max_size=200), max_size=10))
async def test_no_body_is_a_fault_of_ours(tmp_path, bodies):
    """Whatever is posted is answered 400."""
    async with serving(tmp_path) as served:
        alert_id = await raised(served)
        for body in bodies:
            answer = await served.http.post(f"/api/alerts/{alert_id}/marks", data=body)
            assert answer.status == 400

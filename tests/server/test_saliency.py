import asyncio
import base64
import threading

import pytest

from fac_stream.config_storage import evidence_key
from fac_stream.evidence.folder import Folder
from fac_stream.server import saliency
from tests.fakes import FakeScorer
from tests.kept import ALERT, KEY, SETTINGS, alert, keep
from tests.server.serving import serving


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Evidence and audit log lie in the test's folder."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))


async def asked(served, query=""):
    """Status and body of the answer about the alert."""
    response = await served.http.get(f"{served.url}api/alerts/{ALERT}/saliency{query}")
    return response.status, await response.json()


async def raised(served, **fields):
    """An alert at the desk."""
    made = alert(**fields)
    served.services.desk.take(made)
    await served.services.desk.settle()
    return made


async def test_the_strongest_window_is_shown(tmp_path):
    """Grid, edges and spectrum of the strongest driving window that is kept; each reading is audited."""
    history = {"audit": str(tmp_path / "audit.jsonl")}
    async with serving(tmp_path, evidence=SETTINGS, history=history) as served:
        keep(await raised(served), evidence_key(KEY))

        status, shown = await asked(served)

    assert status == 200
    assert (shown["start_s"], shown["end_s"]) == (4.0, 6.0)
    assert shown["windows"] == [[4.0, 6.0], [2.0, 4.0]]
    assert (len(shown["drops"]), {len(row) for row in shown["drops"]}) == (12, {16})
    assert len(shown["edges_hz"]) == 13
    spectrum = shown["spectrum"]
    assert len(base64.b64decode(spectrum["base64"])) == spectrum["bins"] * spectrum["frames"]
    assert '"kind":"evidence.read"' in (tmp_path / "audit.jsonl").read_text()


async def test_further_windows_are_asked_for_by_number(tmp_path):
    """The second one by its number; behind the last there is a refusal that says how many there are."""
    async with serving(tmp_path, evidence=SETTINGS) as served:
        keep(await raised(served), evidence_key(KEY))

        _, second = await asked(served, "?window=1")
        none, refusal = await asked(served, "?window=2")
        wrong, _ = await asked(served, "?window=x")

    assert second["start_s"] == 2.0
    assert (none, refusal["error"]["code"]) == (404, "no_such_window")
    assert wrong == 400


@pytest.mark.parametrize(
    ("evidence", "kept", "model", "refusal"),
    [
        ({}, False, "fake@00000000", (404, "no_evidence")),
        (SETTINGS, False, "fake@00000000", (404, "no_evidence")),
        (SETTINGS, True, "other@11111111", (409, "other_model")),
    ],
)
async def test_a_refusal_says_why(tmp_path, evidence, kept, model, refusal):
    """No purpose, no file, and an alert of another model each have their own words."""
    async with serving(tmp_path, evidence=evidence) as served:
        made = await raised(served, model=model)
        if kept:
            keep(made, evidence_key(KEY))

        answer = await asked(served)

    assert (answer[0], answer[1]["error"]["code"]) == refusal


async def test_damaged_evidence_is_no_evidence(tmp_path):
    """A file that was changed is refused in words, and nothing of it is shown."""
    async with serving(tmp_path, evidence=SETTINGS) as served:
        keep(await raised(served), evidence_key(KEY))
        (path,) = Folder().path.glob("*.evidence")
        path.write_bytes(path.read_bytes()[:-1] + b"?")

        status, body = await asked(served)

    assert (status, body["error"]["code"]) == (404, "no_evidence")


async def test_an_alert_that_is_not_there(tmp_path):
    """Asking for a picture of nothing is answered with 404."""
    async with serving(tmp_path, evidence=SETTINGS) as served:
        status, body = await asked(served)

    assert (status, body["error"]["code"]) == (404, "no_such_alert")


async def test_a_disk_that_hangs_is_not_waited_for_without_end(tmp_path, monkeypatch):
    """The answer comes at the deadline, and no second thread is given to that disk."""
    release = threading.Event()
    monkeypatch.setattr(saliency, "DEADLINE_S", 0.0)
    monkeypatch.setattr(saliency, "read_evidence", lambda *_: release.wait(30))
    async with serving(tmp_path, evidence=SETTINGS) as served:
        await raised(served)
        async with asyncio.timeout(20):
            answers = [await asked(served) for _ in range(2)]
        release.set()
        await served.http.get(f"{served.url}api/health")

    assert [body["error"]["code"] for _, body in answers] == ["scoring_too_slow", "busy"]


async def test_one_picture_is_made_at_a_time(tmp_path):
    """While one is being made the next is told to come back; live scoring never waits for two."""
    entered, release = threading.Event(), threading.Event()

    def hold(_):
        entered.set()
        assert release.wait(30)

    async with serving(tmp_path, evidence=SETTINGS, scorer=FakeScorer(hold)) as served:
        keep(await raised(served), evidence_key(KEY))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(asked(served))
            await asyncio.to_thread(entered.wait, 30)
            second = await asked(served)
            release.set()

    assert (second[0], second[1]["error"]["code"]) == (503, "busy")
    assert first.result()[0] == 200

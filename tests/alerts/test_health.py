import asyncio
import errno
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.alerts import health as health_module
from fac_stream.alerts.health import MEGABYTE, Disks, Lateness, Trouble, Watch
from fac_stream.config_alerts import HEALTH_RULES, HealthAlerts
from fac_stream.events import AlertRaised, SkipReason
from tests.fakes import a_score

DEAD = Trouble("source-dead", "microphone", "microphone: it is unplugged")


def watch(after_s=10.0):
    """A watch of a daemon that began at 100 s."""
    return Watch(HealthAlerts(after_s=after_s), "m@1", 100.0)


def test_what_lasts_is_one_alert_until_it_was_right_as_long():
    """It waits, is raised once, and a moment in which all is well resolves nothing."""
    it = watch()

    assert it.look([DEAD], 100.0) == it.look([DEAD], 109.0) == []
    (raised,) = it.look([DEAD], 110.0)
    assert it.look([DEAD], 111.0) == it.look([], 112.0) == it.look([DEAD], 121.0) == it.look([], 130.0) == []
    (resolved,) = it.look([], 140.0)

    assert (raised.category, raised.call_id, raised.leg, raised.at_s) == ("health", None, None, 10.0)
    assert (raised.rule, raised.severity, raised.summary) == ("source-dead", "warning", DEAD.problem)
    assert (resolved.alert_id, resolved.category, resolved.reason) == (raised.alert_id, "health", "cleared")
    assert resolved.severity == raised.severity


def test_what_passes_is_no_alert():
    """A trouble that is gone before its time starts over when it comes back."""
    it = watch()
    it.look([DEAD], 100.0)
    it.look([], 105.0)

    assert it.look([DEAD], 110.0) == it.look([DEAD], 119.0) == []


def test_many_of_the_same_are_one_alert():
    """A trunk that fails silences all its calls at once; another source is another alert."""
    calls = [Trouble("source-dead", "calls", f"call {number}: no audio") for number in range(9)]

    raised = watch(after_s=0.0).look([DEAD, *calls], 100.0)

    assert [alert.summary for alert in raised] == [DEAD.problem, "call 0: no audio (and 8 more)"]


@given(
    st.lists(st.sets(st.builds(Trouble, st.sampled_from(HEALTH_RULES), st.sampled_from("ab"), st.just("x"))))
)
def test_raised_and_resolved_pair_up(looks):
    """Whatever goes wrong and right, once all is well every alert was resolved exactly once."""
    it = watch(after_s=2.0)
    events = []
    for now, troubles in enumerate([*looks, [], [], []], 100):
        events += it.look(troubles, float(now))

    raised = [event.alert_id for event in events if isinstance(event, AlertRaised)]
    assert sorted(raised) == sorted(event.alert_id for event in events if event.type == "alert.resolved")
    assert it._seen == {}


def window(score, skipped=None):
    """A window that was looked at."""
    return a_score().model_copy(update={"score": score, "skipped": skipped})


def test_scoring_is_late_by_its_share_of_a_minute():
    """Silence counts on neither side, a handful tells nothing, and a minute later it is forgotten."""
    it = Lateness(most=0.1)
    for _ in range(18):
        it.on_event(window(0.5))
    it.on_event(window(None, SkipReason.LATE))
    it.look(0.0)
    assert it.problem is None  # too few to tell
    for reason in (SkipReason.OVERLOAD, SkipReason.NO_SPEECH, SkipReason.LOSS):
        it.on_event(window(None, reason))
    it.look(1.0)
    assert "2 of the last minute's 20 windows" in it.problem
    it.look(60.5)
    assert it.problem is None


@pytest.fixture
def disks():
    """Makes disks that are let go at the end."""
    made = []

    def start(files, **settings):
        made.append(Disks(files, **{"min_free_mb": 10, **settings}))
        return made[-1]

    yield start
    for it in made:
        it.close()
        it._thread._thread.join(20)


async def test_a_disk_that_runs_full_is_told_by_its_folder(tmp_path, monkeypatch, disks):
    """Also for a folder that is still to be made; with room made the trouble is gone."""
    free = 9 * MEGABYTE
    monkeypatch.setattr(health_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    it = disks([tmp_path / "to" / "be" / "a.db", tmp_path / "to" / "be" / "b.db"])

    await it.look()
    (trouble,) = it.troubles
    assert trouble.rule == "disk-full"
    assert f"{tmp_path}/to/be: 9 MB left" in trouble.problem
    free = 10 * MEGABYTE
    await it.look()
    assert it.troubles == []


async def test_a_folder_that_cannot_be_looked_at_is_told(tmp_path, monkeypatch, disks):
    """A share that is gone, or a folder that is closed to the daemon, is a trouble and not its end."""

    def refuse(path):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(health_module.Path, "exists", refuse)
    it = disks([tmp_path / "a.db"])

    await it.look()
    assert it.troubles == [Trouble("storage", str(tmp_path), f"{tmp_path}: Stale file handle")]


async def test_a_disk_that_hangs_holds_up_nobody(tmp_path, monkeypatch, disks):
    """It is asked once, not again and again, and is well again when it answers."""
    answers, begun, asked = threading.Event(), threading.Event(), []

    def usage(path):
        asked.append(path)
        begun.set()
        assert answers.wait(30)
        return SimpleNamespace(free=10**12)

    monkeypatch.setattr(health_module.shutil, "disk_usage", usage)
    monkeypatch.setattr(health_module, "DISK_DEADLINE_S", 0.001)
    it = disks([tmp_path / "a.db"])

    await it.look()
    assert await asyncio.to_thread(begun.wait, 30)
    await it.look()
    assert [trouble.rule for trouble in it.troubles] == ["storage"]
    assert "does not answer" in it.troubles[0].problem
    assert len(asked) == 1
    answers.set()
    monkeypatch.setattr(health_module, "DISK_DEADLINE_S", 30.0)
    async with asyncio.timeout(30):
        await it.look()
    assert it.troubles == []

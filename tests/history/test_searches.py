"""Random calls in, queries out: the history answers as a list in memory would."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ConfigError, StorageError
from fac_stream.events import Decision
from fac_stream.history.numbers import Hashes, normal
from fac_stream.history.searches import Search, find, time_of
from tests.history.keeping import ended, living, started, window

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NUMBERS = ["+49 30 1", "0049301", "tel:+4930-2", "sip:ada@example.org"]

calls = st.lists(
    st.fixed_dictionaries(
        {
            "call_id": st.sampled_from("abcd"),
            "decision": st.sampled_from([it.value for it in Decision]),
            "caller": st.none() | st.sampled_from(NUMBERS),
            "callee": st.none() | st.sampled_from(NUMBERS),
            "ends": st.booleans(),
        }
    ),
    min_size=1,
    max_size=12,
)


async def written(house, drawn):
    """Publish these calls; gives them with the times at which they began, oldest first."""
    begun, told = [], []
    house.bus.listen(lambda event: begun.append(event.time) if event.type == "call.started" else None)
    for one in drawn:
        metadata = {"from": one["caller"], "to": one["callee"]}
        house.bus.publish(started(one["call_id"], metadata))
        # Its end makes an id free for the next call.
        if one["ends"] or one["call_id"] in [it["call_id"] for it in drawn[len(begun) :]]:
            house.bus.publish(ended(one["call_id"], one["decision"]))
            told.append(one | {"ends": True})
        else:
            told.append(one | {"decision": "unknown"})
    await house.recorder.drain()
    return [one | {"time": time} for one, time in zip(told, begun, strict=True)]


def expected(told, *, since=None, until=None, state=None, number=None):
    """What a search should find: ids and times, newest first."""
    found = told
    if since:
        found = [it for it in found if it["time"] >= since]
    if until:
        found = [it for it in found if it["time"] < until]
    if state in {"active", "ended"}:
        found = [it for it in found if it["ends"] == (state == "ended")]
    elif state:
        found = [it for it in found if it["decision"] == state]
    if number:
        wanted = normal(number)
        found = [it for it in found if wanted in {normal(it[key] or "") for key in ("caller", "callee")}]
    return [it["call_id"] for it in reversed(found)]


@settings(max_examples=25, deadline=None)
@given(drawn=calls, data=st.data(), plain=st.booleans())
def test_every_search_finds_what_a_list_would(drawn, data, plain):
    """By time, state and number, alone and together, in pages of any size; hashed numbers or not."""

    async def check(folder):
        async with living(folder / "history.db", numbers="plain" if plain else "hashed") as house:
            told = await written(house, drawn)
            times = st.none() | st.sampled_from([it["time"] for it in told])
            search = {
                "since": data.draw(times),
                "until": data.draw(times),
                "state": data.draw(
                    st.none() | st.sampled_from(["active", "ended", *[it.value for it in Decision]])
                ),
                "number": data.draw(st.none() | st.sampled_from([*NUMBERS, "+4930 1", "unknown"])),
            }
            page, found, before = data.draw(st.integers(1, 5)), [], None
            while calls := await house.find(limit=page, before=before, **search):
                found += [call["call_id"] for call in calls]
                before = calls[-1]["id"]
            assert found == expected(told, **search)

    with tempfile.TemporaryDirectory() as folder:
        Hashes(Path(folder) / "history.key").number("1")
        asyncio.run(check(Path(folder)))


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=200),
    most=st.integers(1, 30),
)
def test_a_timeline_of_any_length_keeps_what_counts(scores, most):
    """However much is put together: as few points as wanted, all windows, the peak and the mean of all."""

    async def check(folder):
        async with living(folder / "history.db") as house:
            house.call(windows=[window(index, score) for index, score in enumerate(scores)])
            [call] = await house.details(most=most)
            return call["timeline"]["caller"]

    with tempfile.TemporaryDirectory() as folder:
        points = asyncio.run(check(Path(folder)))

    known = [score for score in scores if score is not None]
    assert len(points) <= most
    assert sum(it["windows"] for it in points) == len(scores)
    assert sum(it["scored"] for it in points) == len(known)
    assert max((it["peak"] for it in points if it["scored"]), default=None) == max(known, default=None)
    total = sum(it["mean"] * it["scored"] for it in points if it["scored"])
    assert total == pytest.approx(sum(known))
    assert [it["start_s"] for it in points[1:]] == [it["end_s"] for it in points[:-1]]


async def test_a_number_cannot_be_searched_without_the_key(tmp_path):
    """A key that went missing is told: nothing found would be a lie, and a new key no help."""
    async with living(tmp_path / "history.db") as house:
        with pytest.raises(StorageError, match="key of the hashed numbers is missing"):
            await house.find(number="1")
    assert not (tmp_path / "history.key").exists()


async def test_numbers_found_when_hashed_are_found_when_plain(tmp_path):
    """Changing the setting hides no call that was written before."""
    for numbers in ("hashed", "plain"):
        async with living(tmp_path / "history.db", numbers=numbers) as house:
            house.call(numbers, metadata={"caller": "+49 30 1"})
            found = await house.find(number="+49301")

    assert [(it["call_id"], it["numbers"][0]["number"] == "+49 30 1") for it in found] == [
        ("plain", True),
        ("hashed", False),
    ]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-23", NOW - timedelta(hours=12)),
        ("2026-11-23T10:20Z", NOW - timedelta(minutes=100)),
        ("2026-11-23T13:00+02:00", NOW - timedelta(hours=1)),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(days=1)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_times_are_read_as_people_write_them(text, time):
    """Days, instants with or without a zone (UTC then), and how long ago."""
    assert time_of(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "7", "999999w", "0001-01-01T00:00+23:00", "2026-13-01"])
def test_what_is_no_time_is_refused(text):
    """In one sentence that shows how to write one."""
    with pytest.raises(ConfigError, match="24h 7d"):
        time_of(text, NOW)


async def test_pages_are_bounded(tmp_path):
    """Whatever is asked for, a page has at most 500 calls."""
    async with living(tmp_path / "history.db") as house:
        for number in range(510):
            house.call(str(number))
        await house.recorder.drain()
        answer = await house.recorder.ask(partial(find, Search(), house.hashes, 10_000))
    assert len(answer) == 500

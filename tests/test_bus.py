import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.bus import Bus
from fac_stream.errors import SlowSubscriberError
from fac_stream.events import AlertResolved, DecisionChanged, Event, WindowScored
from tests.fakes import a_decision, a_score


async def drain(subscription):
    """What waits in a subscription, by closing it."""
    subscription.close()
    return [event async for event in subscription]


EVENTS = st.lists(
    st.one_of(
        st.builds(a_score, st.integers(0, 99), st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"])),
        st.builds(a_decision, st.sampled_from(["a", "b", "c"])),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(EVENTS, st.integers(16, 40))
def test_a_mailbox_is_bounded_ordered_and_loses_no_decision(events, max_events):
    """Whatever is published, a mailbox keeps its bound and order, and loses scores only, the older first."""
    bus = Bus()
    subscription = bus.subscribe(max_events=max_events)
    published = [bus.publish(event) for event in events]
    durable = [event for event in published if not isinstance(event, WindowScored)]
    assert len(subscription) <= max_events
    if len(durable) > max_events:
        with pytest.raises(SlowSubscriberError):
            asyncio.run(drain(subscription))
        return
    received = asyncio.run(drain(subscription))
    assert [event.seq for event in received] == sorted({event.seq for event in received})
    assert [event for event in received if not isinstance(event, WindowScored)] == durable
    latest = {(e.call_id, e.leg): e for e in published if isinstance(e, WindowScored)}
    if len(durable) + len(latest) <= max_events:
        assert all(event in received for event in latest.values())
    assert subscription.coalesced == len(published) - len(received)


@settings(deadline=None)
@given(EVENTS)
def test_a_reader_that_keeps_up_gets_everything(events):
    """Nothing is coalesced for a subscriber that reads each event before the next one."""

    async def scenario():
        bus = Bus()
        with bus.subscribe(max_events=16) as subscription:
            for event in events:
                published = bus.publish(event)
                assert await anext(subscription) == published
            assert subscription.coalesced == 0

    asyncio.run(scenario())


async def test_seq_counts_every_event_and_time_is_utc():
    """Publishing fills in seq, without holes, and an aware UTC time; the given event is not changed."""
    bus = Bus()
    event = a_score()
    published = [bus.publish(event) for _ in range(3)]
    assert [p.seq for p in published] == [1, 2, 3]
    assert event.seq == 0
    assert event.time is None
    assert all(p.time.utcoffset().total_seconds() == 0 for p in published)


@pytest.mark.parametrize(("count", "kept"), [(4, [0, 1, 2, 3]), (5, [4]), (8, [4, 5, 6, 7])])
async def test_scores_are_thinned_only_when_many_wait(count, kept):
    """A burst that fits is delivered whole; once scores fill a quarter, only a leg's latest stays."""
    bus = Bus()
    subscription = bus.subscribe(max_events=16)

    for index in range(count):
        bus.publish(a_score(index))

    assert [event.index for event in await drain(subscription)] == kept
    assert subscription.coalesced == count - len(kept)


async def test_filters_let_through_only_what_was_asked_for():
    """Types and call id both have to fit."""
    bus = Bus()
    subscription = bus.subscribe(max_events=16, types=frozenset({"decision.changed"}), call_id="c1")
    for event in (a_score(), a_decision(call_id="c2"), a_decision(call_id="c1")):
        bus.publish(event)
    assert [(event.type, event.call_id) for event in await drain(subscription)] == [
        ("decision.changed", "c1")
    ]


async def test_an_event_published_by_a_listener_comes_after_the_one_it_answers():
    """Listeners and subscribers see the order of seq although a listener publishes during delivery."""
    bus = Bus()
    seen: list[Event] = []

    def answer(event):
        if isinstance(event, DecisionChanged):
            bus.publish(AlertResolved(call_id="c1", alert_id="a", rule="r", reason="cleared", at_s=1.0))

    bus.listen(answer)
    bus.listen(seen.append)
    subscription = bus.subscribe(max_events=16)
    bus.publish(a_decision())
    assert [event.seq for event in seen] == [1, 2]
    assert [event.type for event in await drain(subscription)] == ["decision.changed", "alert.resolved"]


async def test_a_listener_that_fails_harms_nobody():
    """The publisher, the other listeners and the subscribers go on."""
    bus = Bus()
    seen: list[Event] = []

    def fail(_event):
        raise ValueError("broken listener")

    bus.listen(fail)
    bus.listen(seen.append)
    subscription = bus.subscribe(max_events=16)
    bus.publish(a_decision())
    assert len(seen) == 1
    assert len(await drain(subscription)) == 1


async def test_an_overflow_closes_the_subscription_and_frees_its_place():
    """When decisions alone overflow, the reader gets the error, not a hole, and the bus forgets it."""
    bus = Bus()
    subscription = bus.subscribe(max_events=16)
    for _ in range(17):
        bus.publish(a_decision())
    assert bus.subscribers == 0
    assert len(subscription) == 0
    with pytest.raises(SlowSubscriberError, match="16 events"):
        await anext(subscription)


async def test_leaving_the_context_unsubscribes():
    """A subscription lives as long as its block."""
    bus = Bus()
    with bus.subscribe(max_events=16) as subscription:
        assert bus.subscribers == 1
    assert bus.subscribers == 0
    bus.publish(a_decision())
    assert [event async for event in subscription] == []


async def test_closing_the_bus_lets_readers_finish():
    """A reader gets what waits, and then the end; one that waits is woken."""
    bus = Bus()
    subscription = bus.subscribe(max_events=16)
    waiting = bus.subscribe(max_events=16, call_id="nobody")

    async def read(of):
        return [event async for event in of]

    async with asyncio.TaskGroup() as group:
        woken = group.create_task(read(waiting))
        await asyncio.sleep(0)
        bus.publish(a_decision())
        bus.close()
        first = group.create_task(read(subscription))
    assert len(first.result()) == 1
    assert woken.result() == []


async def test_a_cancelled_reader_loses_nothing():
    """Cancelling a read that waits takes nothing out of the mailbox."""
    bus = Bus()
    subscription = bus.subscribe(max_events=16)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(subscription), 0)
    bus.publish(a_decision())
    assert (await anext(subscription)).seq == 1

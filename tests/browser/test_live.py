"""Calls as they happen: meters, decisions, alerts, the end, and what was before the page came."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.messages import (
    changed,
    ended,
    leg_summary,
    point,
    raised,
    resolved,
    scored,
    started,
    summary,
)

pytestmark = pytest.mark.browser


def call_of(page, call_id="call-1"):
    """The card of a call."""
    return page.get_by_role("article", name=f"Call {call_id}")


def test_meter_follows_the_scores(page, daemon):
    """The meter says the smoothed score, the canvas the last window's."""
    daemon.say(started(), scored(0.10, 2.0, smoothed=0.10))
    meter = page.get_by_role("meter", name="Probability that caller is synthetic")
    expect(meter).to_have_attribute("aria-valuenow", "10")

    daemon.say(scored(0.95, 2.5, smoothed=0.62, decision="suspicious"))

    expect(meter).to_have_attribute("aria-valuenow", "62")
    expect(meter).to_have_attribute("aria-valuetext", "62%, Suspicious")
    expect(
        page.get_by_role("img", name="Timeline of caller: Suspicious since 0:02, last score 95%")
    ).to_be_visible()
    expect(page.get_by_text("Nobody is on the line")).to_be_hidden()


def test_sound_unlike_that_of_calibration_has_chips(page, daemon):
    """The last scored window's flags in plain words; a flag of a newer daemon stands for itself."""
    daemon.say(started(), scored(0.10, 2.0, quality=["noisy", "clipped", "underwater"]))
    card = call_of(page)
    for word in ("less sure, as the sound is", "noisy", "distorted", "underwater"):
        expect(card.get_by_text(word, exact=True)).to_be_visible()

    daemon.say(scored(None, 2.5))
    expect(card.get_by_text("noisy", exact=True)).to_be_visible()

    daemon.say(scored(0.10, 3.0))
    expect(card.get_by_text("noisy", exact=True)).to_have_count(0)
    expect(card.get_by_text("less sure")).to_have_count(0)


def test_silence_is_not_human(page, daemon):
    """A leg without speech has no meter, no number and the words for it; it is never called human."""
    daemon.say(started(legs=["caller", "agent"]), scored(None, 2.0))
    card = call_of(page)

    expect(card.get_by_text("No speech", exact=True)).to_be_visible()
    expect(card.get_by_text("Listening…", exact=True)).to_be_visible()
    expect(card.get_by_role("meter")).to_have_count(0)
    expect(card.get_by_text("Human")).to_have_count(0)
    expect(card.get_by_role("img", name="Probability that caller is synthetic: No speech")).to_be_visible()


@pytest.mark.parametrize(
    ("skipped", "words"),
    [("late", "Skipped: late"), ("overload", "Skipped: overload"), ("failed", "Scoring failed")],
)
def test_failure_has_its_own_words(page, daemon, skipped, words):
    """A window that was not scored says why."""
    daemon.say(started(), scored(None, 2.0, skipped=skipped))

    expect(call_of(page).get_by_text(words, exact=True)).to_be_visible()


@pytest.mark.parametrize("decision", ["human", "suspicious", "synthetic"])
def test_decision_is_a_word_and_an_icon(page, daemon, decision):
    """Colour is never alone."""
    daemon.say(started(), changed(decision, 4.0, smoothed=0.5))
    badge = call_of(page).locator(".badge")

    expect(badge).to_have_text(decision.capitalize())
    expect(badge.locator("use")).to_have_attribute("href", f"#i-{decision}")


def test_alert_is_listed_spoken_counted_and_resolved(page, daemon):
    """A new alert appears, is announced once, stands in the title, and pales when it is over."""
    daemon.say(started(), scored(0.95, 12.5), raised())
    alerts = page.get_by_role("region", name="Alerts")

    expect(alerts.get_by_role("listitem")).to_contain_text("caller sounds synthetic")
    expect(page.get_by_role("alert")).to_have_text("Alert, critical: caller sounds synthetic")
    expect(page).to_have_title("(1) FAC Stream")
    alerts.get_by_role("link", name="call-1, caller").click()
    expect(call_of(page)).to_be_in_viewport()

    daemon.say(resolved())
    expect(alerts.get_by_role("listitem")).to_contain_text("resolved")
    expect(page).to_have_title("FAC Stream")


def test_alert_is_listed_once(page, daemon):
    """An alert of the snapshot that comes again as an event is the same alert."""
    daemon.calls = [summary(alerts=[raised()])]
    page.reload()
    alerts = page.get_by_role("region", name="Alerts").get_by_role("listitem")
    expect(alerts).to_have_count(1)

    daemon.say(raised(), raised("a-2", summary="another one"))

    expect(alerts).to_have_count(2)
    expect(alerts.first).to_contain_text("another one")


def test_ended_call_moves_and_stays_open(page, daemon):
    """A call that ends while it is watched keeps its timeline, now among the ended."""
    daemon.say(started(), *[scored(0.97, 2 + i / 2, decision="synthetic") for i in range(8)])
    expect(page.get_by_role("meter")).to_be_visible()

    daemon.say(ended(legs=[leg_summary(decision="human", worst="synthetic", score=0.97)], reason="idle"))

    expect(call_of(page)).to_have_count(0)
    past = page.get_by_role("region", name="Ended calls")
    expect(past.get_by_role("img", name=re.compile("Timeline of caller: Synthetic"))).to_be_visible()
    expect(past.get_by_text("no more audio came")).to_be_visible()
    expect(page.get_by_text("Nobody is on the line")).to_be_visible()


def test_earlier_calls_are_fetched(page, daemon):
    """What ended before the page came is listed, and its timeline fetched when it is opened."""
    daemon.ended = [summary("old-1", ended=True), summary("old-2", ended=True, began_s=100)]
    daemon.timelines = {"old-2": {"caller": [point(2 + i / 2, 0.2) for i in range(10)]}}
    page.reload()
    past = page.get_by_role("region", name="Ended calls")
    expect(past.get_by_role("heading", level=3)).to_have_text(["old-2", "old-1"])

    past.get_by_text("old-2").click()
    past.get_by_role("button", name="Show as table").click()

    rows = page.get_by_role("dialog", name="Timeline of old-2, caller").get_by_role("row")
    expect(rows).to_have_count(11)


def test_page_that_comes_late_gets_the_beginning(page, daemon):
    """A call that began before the page opened has its whole timeline, and goes on from there."""
    daemon.calls = [summary()]
    daemon.timelines = {"call-1": {"caller": [point(2 + i / 2, None if i == 3 else 0.25) for i in range(9)]}}
    page.reload()
    expect(page.get_by_role("meter")).to_be_visible()
    daemon.say(scored(0.5, 6.0), scored(0.5, 6.5, decision="human"))
    expect(page.get_by_role("img", name=re.compile("last score 50%"))).to_be_visible()

    button = page.get_by_role("button", name="Show as table")
    button.click()

    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("row")).to_have_count(1 + 9 + 1)  # 6.0 s was known from the history
    expect(dialog.get_by_role("row").nth(1)).to_contain_text("0:06.550%50%1.6 sHuman")
    expect(dialog.get_by_role("row", name="no score")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_words_from_outside_stay_words(page, daemon):
    """Markup in names, metadata and summaries is shown, not obeyed."""
    evil = "<img src=x onerror=alert(1)>"
    daemon.say(started(call_id=evil, legs=[evil], metadata={evil: evil, "n": {"a": [1]}}))
    daemon.say(scored(0.9, 2.0, call_id=evil, leg=evil), raised(call_id=evil, summary=evil))

    expect(page.get_by_role("heading", name=evil).first).to_be_visible()
    expect(page.get_by_text('{"a":[1]}')).to_be_visible()
    expect(page.get_by_role("region", name="Alerts").get_by_role("listitem")).to_contain_text(evil)
    assert page.locator("img[src=x]").count() == 0


def test_unreadable_and_unknown_messages_are_passed_over(page, daemon):
    """Broken JSON, an event of the future and one of an unknown call leave the page at work."""
    daemon.say_raw("{")
    daemon.say_raw('{"type": "call.transcribed", "seq": 1}')
    daemon.say(scored(0.9, 2.0, call_id="nobody-knows-it"))
    daemon.say(started(), scored(0.4, 2.0))

    expect(page.get_by_role("meter")).to_have_attribute("aria-valuenow", "40")


def test_legs_that_turn_up_later_are_added(page, daemon):
    """A leg that the start did not name gets its place with its first window."""
    daemon.say(started(), scored(0.3, 2.0, leg="agent"))

    expect(page.get_by_role("meter", name="Probability that agent is synthetic")).to_be_visible()


def test_many_calls_stay_lively(page, daemon):
    """Forty calls of two legs are all there, and the last score of each arrives."""
    for n in range(40):
        daemon.say(started(f"call-{n}", legs=["caller", "agent"]))
    for i in range(10):
        daemon.say(
            *[
                scored(0.2 + i / 20, 2 + i / 2, f"call-{n}", leg)
                for n in range(40)
                for leg in ("caller", "agent")
            ]
        )

    expect(page.get_by_role("meter")).to_have_count(80)
    expect(page.locator('[role=meter][aria-valuenow="65"]')).to_have_count(80)


def test_track_keeps_an_hour(page):
    """Columns grow, drop their oldest part when full, and never lose order."""
    kept = page.evaluate(
        """async () => {
          const { Track } = await import("/js/track.js");
          const track = new Track();
          const point = { score: 0.5, smoothed: null, speech_s: 1, decision: "human" };
          const push = (end_s) => track.push({ ...point, end_s });
          for (let i = 0; i < 20000; i++) push(i);
          push(3);
          const t = Array.from(track.t.slice(0, track.length));
          const inOrder = t.every((v, i) => !i || v === t[i - 1] + 1);
          return [track.last, t.length, inOrder, track.from(19000.5), t[track.from(19000.5)]];
        }"""
    )

    last, length, in_order, index, value = kept
    assert (last, in_order, value) == (19999, True, 19001)
    assert 5400 <= length <= 7200
    assert index == length - 999

"""The line to the daemon: lost, silent, cut, locked; and back again."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.messages import point, raised, scored, started, summary
from tests.browser.scripted import ScriptedDaemon

pytestmark = pytest.mark.browser
TOKEN = "a-token-with/+="


def connection(page):
    """The state of the connection."""
    return page.get_by_role("status", name="Connection")


def reason(page):
    """Why it is so, as a screen reader hears it: without the seconds that count."""
    return page.get_by_role("status", name="Reason")


def test_page_recovers_and_catches_up(page, daemon):
    """A lost connection is shown, tried again, and the snapshot replaces what was there before."""
    daemon.say(started("gone"), started("stays"), scored(0.2, 2.0, "stays"), raised(call_id="gone"))
    expect(page.get_by_role("meter")).to_be_visible()
    daemon.calls = [summary("stays"), summary("new")]
    daemon.timelines = {"stays": {"caller": [point(2 + i / 2, 0.2) for i in range(20)]}}

    daemon.hang_up(1001)

    expect(connection(page)).to_have_text("Offline")
    expect(reason(page)).to_have_text("The daemon is shutting down.")
    expect(page.get_by_text(re.compile(r"^Trying again in \d s\.$"))).to_be_visible()
    expect(connection(page)).to_have_text("Live")
    expect(reason(page)).to_have_text("")
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("article", name="Call gone")).to_have_count(0)
    expect(page.get_by_role("region", name="Alerts").get_by_role("listitem")).to_contain_text("resolved")
    page.get_by_role("article", name="Call stays").get_by_role("button", name="Show as table").click()
    expect(page.get_by_role("dialog").get_by_role("row")).to_have_count(21)


def test_slow_page_is_told_why(page, daemon):
    """The daemon's code for a subscriber that fell behind is said in words."""
    daemon.hang_up(4008, "fell behind")

    expect(page.get_by_text("could not keep up")).to_be_visible()
    expect(connection(page)).to_have_text("Live")


def test_daemon_that_is_away_is_tried_again(page, daemon):
    """As long as the daemon refuses, the page waits longer each time, and says so."""
    page.console.allowed.append("/ws/events")  # the refused handshakes
    daemon.accepting = False
    daemon.hang_up(1012)
    expect(connection(page)).to_have_text("Offline")
    with page.expect_event("websocket"):
        pass
    daemon.accepting = True

    expect(connection(page)).to_have_text("Live")


def test_silent_line_is_asked_then_stale_then_left(daemon, open_page):
    """Ten silent seconds bring a question, fifteen a warning, thirty a new connection."""
    page = open_page()
    page.clock.install()
    page.goto(daemon.url)
    expect(connection(page)).to_have_text("Live")
    daemon.say(started())
    expect(page.get_by_role("article")).to_be_visible()
    daemon.calls = [summary()]

    page.clock.run_for(11_000)
    daemon.until(lambda: daemon.asked == [{"type": "snapshot"}])
    expect(connection(page)).to_have_text("Live")

    daemon.mute = True
    page.clock.run_for(12_000)
    daemon.until(lambda: len(daemon.asked) == 2)
    page.clock.run_for(6_000)
    expect(connection(page)).to_have_text("Stale")
    expect(page.get_by_text(re.compile(r"^No word from the daemon for 1\d s$"))).to_be_visible()
    expect(reason(page)).to_have_text("No word from the daemon")

    page.clock.run_for(16_000)
    daemon.until(lambda: daemon.connections == 2)
    expect(connection(page)).to_have_text("Live")


def test_back_off_doubles_with_chance(page):
    """1 s doubling to 30 s, of which chance takes away up to half."""
    least, most = page.evaluate(
        """async () => {
          const { backoff } = await import("/js/socket.js");
          const attempts = [...Array(12).keys()];
          return [attempts.map((n) => backoff(n, 0)), attempts.map((n) => backoff(n, 1))];
        }"""
    )

    assert most == [1000, 2000, 4000, 8000, 16000, *[30000] * 7]
    assert least == [value / 2 for value in most]


def test_hidden_page_asks_when_it_is_seen_again(page, daemon):
    """Coming back to the tab brings a fresh snapshot at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    daemon.until(lambda: daemon.asked == [{"type": "snapshot"}])


def test_token_is_asked_for_and_sent(open_page):
    """A locked daemon brings up the form; the token opens HTTP and both sockets, and survives a reload."""
    with ScriptedDaemon(token=TOKEN) as daemon:
        page = open_page(daemon.url)
        page.console.allowed.append("401")  # how the page finds out
        form = page.get_by_role("dialog", name="This daemon asks for its token")
        form.get_by_label("Access token").fill("not-the-token-at-all")
        form.get_by_role("button", name="Connect").click()
        expect(form.get_by_text("not accepted")).to_be_visible()

        form.get_by_label("Access token").fill(TOKEN)
        form.get_by_role("button", name="Connect").click()

        expect(connection(page)).to_have_text("Live")
        page.get_by_role("button", name="Use this browser").click()
        daemon.until(lambda: daemon.ingested and daemon.ingested[0]["audio"])
        page.get_by_role("button", name="Stop microphone").click()
        daemon.until(lambda: daemon.ingested[0]["ended"])
        page.reload()
        expect(connection(page)).to_have_text("Live")
        assert daemon.subprotocols == ["fac.v1", "fac.v1"]
        page.close()


def test_escape_does_not_end_the_question_for_the_token(open_page):
    """However often it is pressed, the form is there, and works."""
    with ScriptedDaemon(token=TOKEN) as daemon:
        page = open_page(daemon.url)
        page.console.allowed.append("401")
        form = page.get_by_role("dialog", name="This daemon asks for its token")
        expect(form).to_be_visible()
        page.evaluate("unlock.addEventListener('close', () => { window.closes = (window.closes ?? 0) + 1 })")

        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.wait_for_function("window.closes > 0")

        form.get_by_label("Access token").fill(TOKEN)
        form.get_by_role("button", name="Connect").click()
        expect(connection(page)).to_have_text("Live")
        expect(form).to_be_hidden()
        page.close()

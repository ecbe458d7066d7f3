"""What people say of alerts: in the list, by buttons, kept apart from what the daemon tells of itself."""

import pytest
from playwright.sync_api import expect

from fac_stream.alerts.records import AlertRecord
from fac_stream.events import AlertMarked, AlertRaised, AlertResolved
from tests.browser.conftest import PHONE
from tests.browser.messages import MODEL, START, raised
from tests.running import running

pytestmark = pytest.mark.browser


def health(alert_id="h-1"):
    """The daemon tells of itself."""
    return AlertRaised(
        alert_id=alert_id,
        category="health",
        rule="disk-full",
        severity="warning",
        summary="/var/lib/fac-stream: 12 MB left: make room",
        at_s=86_400.0,
        smoothed=None,
        speech_s=0.0,
        model=MODEL,
        time=START,
    )


def record(alert, marks=(), over=False):
    """What the daemon has of an alert."""
    alert = alert.model_copy(update={"time": START})
    end = AlertResolved(
        alert_id=alert.alert_id,
        category=alert.category,
        rule=alert.rule,
        severity=alert.severity,
        reason="restarted",
        at_s=1.0,
    )
    return AlertRecord(
        alert_id=alert.alert_id,
        category=alert.category,
        state="resolved" if over else "firing",
        acknowledged=bool(marks),
        verdict=None,
        raised=alert,
        resolved=end if over else None,
        marks=list(marks),
    ).model_dump(mode="json")


@pytest.fixture
def alerts(page):
    """The list of alerts."""
    return page.get_by_role("region", name="Alerts", exact=True)


def test_an_alert_is_marked_by_name(page, daemon, alerts):
    """The name is asked for once, kept by the browser, sent with the mark; the verdict stays pressed."""
    daemon.alerts["a-1"] = record(raised())
    daemon.say(raised())
    alerts.get_by_role("button", name="False alarm").click()
    expect(page.get_by_role("status", name="Mark")).to_have_text("Say who you are first.")
    expect(page.get_by_label("Your name")).to_be_focused()

    page.get_by_label("Your name").fill("Ada")
    alerts.get_by_role("button", name="False alarm").click()

    expect(alerts.get_by_role("listitem")).to_contain_text("False alarm, says Ada")
    pressed = alerts.get_by_role("button", name="False alarm", pressed=True)
    expect(pressed).to_be_focused()
    expect(alerts.get_by_role("button", name="Seen")).to_have_count(0)
    assert daemon.marked == [("a-1", {"mark": "false_alarm", "by": "Ada"})]
    page.reload()
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    expect(alerts.get_by_role("listitem")).to_contain_text("False alarm, says Ada")


def test_what_others_say_shows(page, daemon, alerts):
    """A mark from elsewhere comes as an event; the last verdict counts; the same is not said twice."""
    daemon.say(raised())
    for mark, by, note in (
        ("acknowledged", "Bob", ""),
        ("confirmed_fake", "Bob", "the customer called"),
        ("acknowledged", "Bob", ""),
        ("false_alarm", "Eve", "<b>our</b> bot"),
    ):
        daemon.say(AlertMarked(alert_id="a-1", mark=mark, by=by, note=note))

    expect(alerts.get_by_role("listitem")).to_contain_text(
        "False alarm, says Eve: <b>our</b> bot. Seen by Bob"
    )
    expect(alerts.get_by_role("button", name="Confirm fake", pressed=False)).to_be_visible()
    expect(alerts.get_by_role("button", name="Seen")).to_have_count(0)


def test_a_mark_that_is_not_saved_is_told(page, daemon, alerts):
    """In the daemon's words; nothing looks marked."""
    page.console.allowed.append("503")
    daemon.marking = 503
    daemon.say(raised())
    page.get_by_label("Your name").fill("Ada")
    alerts.get_by_role("button", name="Confirm fake").click()

    expect(page.get_by_role("status", name="Mark")).to_have_text("Not marked: the disk is full: make room")
    expect(alerts.get_by_role("button", pressed=True)).to_have_count(0)


def test_health_is_apart(page, daemon, alerts):
    """In a list of its own, spoken as the daemon's, not counted with alerts about voices, only to be seen."""
    own = page.get_by_role("region", name="The daemon itself")
    expect(own).to_have_count(0)
    daemon.say(health())

    expect(own.get_by_role("listitem")).to_contain_text("12 MB left")
    expect(page.get_by_role("alert")).to_have_text(f"The daemon, warning: {health().summary}")
    expect(page).to_have_title("FAC Stream")
    expect(page.get_by_text("No alert so far.")).to_be_visible()
    expect(own.get_by_role("button")).to_have_text(["Seen"])

    daemon.hang_up()  # a snapshot says nothing of the daemon's own alerts: they go on
    expect(own.get_by_role("listitem")).to_contain_text("warning")


def test_what_the_daemon_tells_of_itself_pushes_out_no_fraud(page, daemon, alerts):
    """However much it tells: only its own list is cut."""
    daemon.say(raised(), *(health(f"h-{number}") for number in range(120)))

    own = page.get_by_role("region", name="The daemon itself")
    expect(own.get_by_role("listitem")).to_have_count(100)
    expect(alerts.locator("#alert-list").get_by_role("listitem")).to_have_count(1)


def test_alerts_of_before_are_there(daemon, open_page):
    """Those of an earlier daemon too, newest first, with what was said of them."""
    said = AlertMarked(alert_id="old", mark="confirmed_fake", by="Ada", time=START)
    daemon.alerts = {
        "old": record(raised("old", summary="the older one"), [said], over=True),
        "h-1": record(health(), over=True),
    }
    page = open_page(daemon.url, viewport=PHONE)

    alerts = page.get_by_role("region", name="Alerts", exact=True).locator("#alert-list")
    expect(alerts.get_by_role("listitem")).to_contain_text("the older one")
    expect(alerts.get_by_role("listitem")).to_contain_text("Confirmed fake, says Ada")
    expect(page.get_by_role("region", name="The daemon itself")).to_contain_text("daemon restarted")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.daemon
@pytest.mark.timeout(180)
def test_a_mark_reaches_the_real_daemon_and_outlives_it(tmp_path, open_page):
    """A daemon whose disk is said to be full raises its alert; the mark is there after a restart."""
    full = {"health": {"min_free_mb": 1_000_000, "after_s": 0.0, "look_every_s": 0.5}}
    with running(tmp_path, alerts=full) as started:
        page = open_page(started.url)
        own = page.get_by_role("region", name="The daemon itself")
        expect(own.get_by_role("listitem").first).to_contain_text("MB left", timeout=30_000)
        page.get_by_label("Your name").fill("Ada")
        own.get_by_role("button", name="Seen").first.click()
        expect(own.get_by_role("listitem").first).to_contain_text("Seen by Ada")
        page.close()
        started.stop()
    with running(tmp_path) as started:
        page = open_page(started.url)
        own = page.get_by_role("region", name="The daemon itself")
        expect(own.get_by_role("listitem").filter(has_text="Seen by Ada")).to_contain_text("daemon restarted")
        page.close()

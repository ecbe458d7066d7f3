"""The page of one alert: why it was raised, and the picture of its sound where evidence is kept."""

import base64
import re

import pytest
from playwright.sync_api import expect

from fac_stream.alerts.records import AlertRecord
from tests import kept
from tests.browser.conftest import PHONE
from tests.browser.messages import START, leg_summary, point, summary

pytestmark = pytest.mark.browser

ADDRESS = f"#alert-{kept.ALERT}"


def record(**fields):
    """What the daemon knows of the alert."""
    raised = kept.alert().model_copy(update={"time": START, **fields})
    return AlertRecord(
        alert_id=raised.alert_id,
        category="fraud",
        state="firing",
        acknowledged=False,
        verdict=None,
        raised=raised,
        resolved=None,
        marks=[],
    ).model_dump(mode="json")


def picture():
    """A spectrum of two tones; one cell of the grid matters much, one a little against."""
    drops = [[0.0] * 16 for _ in range(12)]
    drops[5][4], drops[2][9] = 2.0, -0.6
    edges = [0, 137, 301, 498, 734, 1016, 1354, 1759, 2244, 2825, 3521, 4355, 8000]
    rows = [bytes([min(255, 40 + 3 * (row % 60))]) * 251 for row in range(257)]
    spectrum = {"bins": 257, "frames": 251, "base64": base64.b64encode(b"".join(rows)).decode()}
    return {
        "start_s": 4.0,
        "end_s": 6.0,
        "llr": 3.2,
        "drops": drops,
        "edges_hz": edges,
        "spectrum": spectrum,
        "windows": [[4.0, 6.0], [2.0, 4.0]],
    }


def painted(canvas):
    """How many different colours a canvas shows."""
    return canvas.evaluate(
        "(c) => new Set(new Uint32Array(c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.buffer)).size"
    )


@pytest.fixture
def daemon(daemon):
    """It knows the alert and its call, and has no evidence."""
    daemon.alerts[kept.ALERT] = record()
    daemon.ended = [summary("call-1", legs=[leg_summary()], ended=True)]
    points = [point(2 + i / 2, 0.2 if i < 4 else 0.85, "human" if i < 6 else "synthetic") for i in range(12)]
    daemon.timelines["call-1"] = {"caller": points}
    return daemon


def test_a_link_opens_the_alert(daemon, open_page):
    """The address of an alert shows why it was raised: windows, quality, model, timeline of its leg."""
    page = open_page(daemon.url + ADDRESS)

    box = page.get_by_role("dialog")
    expect(box).to_contain_text("Synthetic voice suspected on caller")
    expect(box).to_contain_text("fake@00000000, version 0")
    expect(box).to_contain_text("call-1, caller")
    expect(box).to_contain_text("Less sure, as the sound is")
    rows = box.get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("0:04.0 to 0:06.0")
    expect(rows.nth(1)).to_contain_text("30%")
    expect(page.get_by_role("img", name="Scores of caller")).to_be_visible()


def test_a_call_that_is_forgotten_leaves_the_scores_of_the_alert(daemon, open_page):
    """Where the daemon no longer has the call, the timeline is the one that the alert carries."""
    daemon.ended.clear()
    page = open_page()
    page.console.allowed.append("api/calls/call-1")
    page.goto(daemon.url + ADDRESS)

    chart = page.get_by_role("img", name="Scores of caller")
    expect(chart).to_be_visible()
    expect(page.get_by_role("dialog").get_by_role("row")).to_have_count(4)


def test_the_sound_is_looked_into_on_demand(daemon, open_page):
    """The picture is asked for by a button, painted, told in words, and the other windows can be chosen."""
    daemon.saliency = (200, picture())
    page = open_page(daemon.url + ADDRESS)

    page.get_by_role("button", name="Look into the sound").click()

    note = page.get_by_role("status", name="Explanation")
    expect(note).to_contain_text("from 1.0 to 1.4 kHz")
    expect(note).to_contain_text("falls from 3.2 to 1.2")
    seen = page.get_by_role("img", name="What mattered most")
    expect(seen).to_be_visible()
    assert painted(seen) > 20
    expect(page.get_by_role("button", name="Window at 0:04.0")).to_be_disabled()
    page.get_by_role("button", name="Window at 0:02.0").click()
    expect(page.get_by_role("button", name="Window at 0:02.0")).to_be_disabled()


def test_without_evidence_the_reason_is_told(daemon, open_page):
    """Where no audio is kept the page says so, and everything else of the alert stands."""
    page = open_page(daemon.url + ADDRESS)
    page.console.allowed.append("saliency")

    page.get_by_role("button", name="Look into the sound").click()

    expect(page.get_by_role("status", name="Explanation")).to_contain_text("no audio is kept")
    expect(page.get_by_role("dialog").get_by_role("row")).to_have_count(4)


def test_the_list_leads_there_and_back(page, daemon):
    """An alert of the list opens by its link; Back leaves the dashboard with its plain address."""
    daemon.say(kept.alert())

    page.get_by_role("link", name="Why?").click()
    expect(page.get_by_role("dialog")).to_contain_text("Synthetic voice suspected")
    page.get_by_role("button", name="Back").click()

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"^[^#]*$"))


def test_an_alert_that_is_gone_is_said_to_be(daemon, open_page):
    """A link to an alert that is no longer kept says so in the daemon's words."""
    daemon.alerts.clear()
    page = open_page()
    page.console.allowed.append(kept.ALERT)
    page.goto(daemon.url + ADDRESS)

    expect(page.get_by_role("status", name="Explanation")).to_contain_text("no alert with this id")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(daemon, open_page, scheme):
    """Nothing sticks out sideways on a phone, in both themes."""
    daemon.saliency = (200, picture())
    page = open_page(daemon.url + ADDRESS, color_scheme=scheme, viewport=PHONE)
    page.get_by_role("button", name="Look into the sound").click()

    expect(page.get_by_role("img", name="What mattered most")).to_be_visible()
    assert page.evaluate("document.getElementById('alert').scrollWidth <= innerWidth")

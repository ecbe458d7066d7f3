"""A recording dropped or chosen, and what the daemon says of it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.messages import prediction

pytestmark = pytest.mark.browser
RECORDING = {"name": "voicemail.ogg", "mimeType": "audio/ogg", "buffer": b"OggS not really"}


def choose(page, recording=RECORDING):
    """Pick a file as the browse button does."""
    page.get_by_label("Recording to check").set_input_files(recording)


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.0, ("Real", "low", "human")),
        (0.29, ("Real", "low", "human")),
        (0.30, ("Real", "unclear", "suspicious")),
        (0.69, ("Fake", "unclear", "suspicious")),
        (0.70, ("Fake", "high", "synthetic")),
        (1.0, ("Fake", "high", "synthetic")),
    ],
)
def test_gauge_has_the_predecessors_zones(page, daemon, score, words):
    """Green under 30, amber under 70, red above; a word beside every colour."""
    word, zone, tone = words
    daemon.upload = (200, prediction(score))
    choose(page)
    region = page.get_by_role("region", name="Check a recording")
    gauge = region.get_by_role("meter", name="Probability that the voice is synthetic")

    expect(gauge).to_have_attribute("aria-valuetext", f"{round(score * 100)}%, {zone}")
    expect(gauge).to_have_attribute("data-tone", tone)
    expect(region.get_by_text(word, exact=True)).to_be_visible()


def test_chosen_file_is_sent_whole(page, daemon):
    """The file goes up as the multipart field ``file``; prediction, confidence and timeline come back."""
    daemon.upload = (200, prediction(0.87))
    choose(page)
    region = page.get_by_role("region", name="Check a recording")

    expect(region.get_by_role("definition")).to_have_text(["fake", "87%", "Synthetic", "9.5 s of 0:12"])
    expect(region.get_by_role("img", name="Timeline of mixed: highest window 87%")).to_be_visible()
    assert daemon.uploaded == [("file", "voicemail.ogg", RECORDING["buffer"])]
    region.get_by_role("button", name="Show as table").click()
    expect(page.get_by_role("dialog").get_by_role("row")).to_have_count(21)


def test_doubts_about_the_recording_are_told(page, daemon):
    """What it is unlike stands among the facts, in plain words."""
    daemon.upload = (200, prediction(0.87, quality=["narrowband", "noisy"]))
    choose(page)
    region = page.get_by_role("region", name="Check a recording")

    expect(region.get_by_role("term").last).to_have_text("Less sure, as the sound is")
    expect(region.get_by_role("definition").last).to_have_text("muffled, noisy")


def test_file_dropped_anywhere_is_taken(page, daemon):
    """A drop beside the box counts, and does not replace the page."""
    daemon.upload = (200, prediction(0.12))
    files = page.evaluate_handle(
        "() => { const t = new DataTransfer(); t.items.add(new File(['abc'], 'dropped.wav')); return t; }"
    )
    main = page.get_by_role("main")
    main.dispatch_event("dragover", {"dataTransfer": files})
    main.dispatch_event("drop", {"dataTransfer": files})

    expect(page.get_by_role("heading", name="dropped.wav")).to_be_visible()
    assert daemon.uploaded == [("file", "dropped.wav", b"abc")]


def test_no_speech_is_no_verdict(page, daemon):
    """Where nobody speaks there is no number, no meter and no claim."""
    daemon.upload = (200, prediction(None))
    choose(page)
    region = page.get_by_role("region", name="Check a recording")

    expect(region.get_by_text("No speech", exact=True)).to_be_visible()
    expect(region.get_by_role("meter")).to_have_count(0)
    expect(
        region.get_by_role("img", name="Probability that the voice is synthetic: no score")
    ).to_be_visible()
    expect(region.get_by_text("Real")).to_have_count(0)


def test_refusal_is_said_in_the_daemons_words(page, daemon):
    """An error of the daemon appears, and the box is ready for another file."""
    daemon.upload = (415, {"error": {"code": "undecodable", "message": "voicemail.ogg holds no audio."}})
    page.console.allowed.append("415")
    choose(page)

    expect(page.get_by_role("status", name="Recording")).to_have_text("voicemail.ogg holds no audio.")
    expect(page.get_by_text("Drop a recording here")).to_be_visible()


def test_another_can_be_analysed(page, daemon):
    """One click after a result the box is back, focused, and takes the same file again."""
    daemon.upload = (200, prediction(0.87))
    choose(page)
    page.get_by_role("button", name="Analyse another").click()
    expect(page.get_by_label("Recording to check")).to_be_focused()
    daemon.upload = (200, prediction(0.05))

    choose(page)

    expect(page.get_by_text("Real", exact=True)).to_be_visible()
    assert len(daemon.uploaded) == 2


def test_every_leg_has_its_timeline(daemon, open_page):
    """A stereo file shows both sides, also on a phone."""
    windows = [
        {"leg": leg, "start_s": 0.0, "end_s": 2.0, "score": score, "skipped": None, "speech_s": 1.0}
        for leg, score in (("caller", 0.2), ("agent", 0.9))
    ]
    daemon.upload = (200, prediction(0.9, windows))
    page = open_page(daemon.url, viewport=PHONE)
    choose(page)

    expect(page.get_by_role("img", name="Timeline of caller: highest window 20%")).to_be_attached()
    expect(page.get_by_role("img", name="Timeline of agent: highest window 90%")).to_be_attached()

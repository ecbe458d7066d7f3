"""The real daemon as a process, the shipped model, and Chromium hearing speech from a file."""

import re

import pytest
import soundfile
from playwright.sync_api import expect

from tests.running import running, speech

pytestmark = [pytest.mark.browser, pytest.mark.daemon, pytest.mark.timeout(180)]
RATE = 48_000


@pytest.fixture
def real_daemon(tmp_path):
    """A daemon with the default configuration."""
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def spoken(corpus_clips, tmp_path):
    """Human and machine-made speech in turn, as a WAV file."""
    clips = zip(corpus_clips("real", "dev", 3, min_s=4), corpus_clips("fake", "dev", 3, min_s=4), strict=True)
    path = tmp_path / "spoken.wav"
    soundfile.write(path, speech([clip for pair in clips for clip in pair], 24, RATE), RATE, subtype="PCM_16")
    return path


def test_spoken_call_moves_the_meter(real_daemon, spoken, launch, open_page):
    """What the browser's microphone hears is scored, drawn, ended and remembered."""
    page = open_page(real_daemon.url, launch(f"--use-file-for-fake-audio-capture={spoken}"))
    expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
    page.get_by_role("region", name="Live calls").get_by_role("button", name="Start this browser").click()

    said = page.get_by_role("status", name="Microphone")
    expect(said).to_have_text(re.compile("On air as .+"))
    call_id = said.inner_text().removeprefix("On air as ").removesuffix(".")
    meter = page.get_by_role("article", name=f"Call {call_id}").get_by_role("meter")
    expect(meter).to_have_attribute("aria-valuetext", re.compile(r"\d+%, "), timeout=30_000)
    first = meter.get_attribute("aria-valuenow")
    expect(meter).not_to_have_attribute("aria-valuenow", first, timeout=30_000)

    page.get_by_role("button", name="Stop microphone").click()

    expect(said).to_contain_text("Ended after")
    past = page.get_by_role("region", name="Ended calls")
    expect(past.get_by_role("heading", name=call_id)).to_be_visible()
    page.reload()
    past.get_by_text(call_id).click()
    past.get_by_role("button", name="Show as table").click()
    assert page.get_by_role("dialog").get_by_role("row", name="%").count() > 3


def test_upload_is_scored(real_daemon, spoken, open_page):
    """A dropped recording comes back with gauge, prediction and timeline."""
    page = open_page(real_daemon.url)
    page.get_by_label("Recording to check").set_input_files(spoken)

    region = page.get_by_role("region", name="Check a recording")
    expect(region.get_by_role("meter")).to_have_attribute(
        "aria-valuetext", re.compile(r"\d+%, (low|unclear|high)")
    )
    expect(region.get_by_role("definition").first).to_have_text(re.compile("fake|real"))
    expect(region.get_by_role("img", name=re.compile("Timeline of mixed"))).to_be_visible()


def test_plots_and_model_are_shown(real_daemon, open_page):
    """The page shows every plot that the daemon says the model has."""
    page = open_page(real_daemon.url)
    plots = page.request.get(f"{real_daemon.url}api/model/status").json()["plots"]
    page.get_by_text("Plots of its training and test").click()

    expect(page.get_by_role("region", name="The model").get_by_role("img")).to_have_count(len(plots))


def test_token_opens_the_real_door(tmp_path, open_page):
    """The daemon's own guard lets the page in with its token, and serves the page itself without."""
    token = "kJ3/Zp+Tq0w7Yb9xVnLs2A=="
    with running(tmp_path, server={"port": 0, "token": token}) as daemon:
        page = open_page(daemon.url)
        page.console.allowed.append("401")  # how the page finds out
        page.get_by_label("Access token").fill(token)
        page.get_by_role("button", name="Connect").click()

        expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
        page.close()


def test_restarted_daemon_is_found_again(tmp_path, open_page):
    """The daemon stops and another starts on its port: the page says so and recovers."""
    with running(tmp_path) as daemon:
        page = open_page(daemon.url)
        page.console.allowed += ["ERR_CONNECTION_REFUSED"]  # while nobody is there
        expect(page.get_by_role("status", name="Connection")).to_have_text("Live")
        daemon.stop()
        expect(page.get_by_role("status", name="Connection")).to_have_text("Offline")
        port = int(daemon.url.rstrip("/").rpartition(":")[2])
    with running(tmp_path, server={"port": port}):
        expect(page.get_by_role("status", name="Connection")).to_have_text("Live", timeout=60_000)
        page.close()

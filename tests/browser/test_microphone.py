"""The browser's microphone as a call, with Chromium's own beeping device."""

import numpy as np
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def start(page):
    """Press the button."""
    page.get_by_role("button", name="Use this browser").click()


def test_microphone_streams_pcm_until_stopped(page, daemon):
    """Hello states what follows: 16-bit mono that is not silent; stopping ends the call politely."""
    start(page)
    expect(page.get_by_role("status", name="Microphone")).to_have_text("On air as ws-1.")
    daemon.until(lambda: len(daemon.ingested[0]["audio"]) > 2 * 48_000)
    page.get_by_role("button", name="Stop microphone").click()

    expect(page.get_by_role("status", name="Microphone")).to_contain_text("Ended after 0:0")
    expect(page.get_by_role("button", name="Use this browser")).to_be_focused()
    daemon.until(lambda: daemon.ingested[0]["ended"])
    call = daemon.ingested[0]
    hello = call["hello"]
    assert (hello["encoding"], hello["channels"]) == ("pcm_s16le", 1)
    assert hello["sample_rate"] in {44_100, 48_000}
    assert hello["metadata"]["client"] == "browser"
    assert np.abs(np.frombuffer(call["audio"], "<i2")).max() > 1000


def test_refused_call_lets_the_microphone_go(page, daemon):
    """A daemon that is full says so, and the browser's recording light goes out."""
    daemon.accepting = False
    page.evaluate(
        """() => {
          const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (wish) => (globalThis.given = await ask(wish));
        }"""
    )
    start(page)

    expect(page.get_by_role("status", name="Microphone")).to_have_text("100 calls are going on")
    assert page.evaluate("given.getTracks().map((track) => track.readyState)") == ["ended"]
    expect(page.get_by_role("button", name="Use this browser")).to_be_enabled()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotAllowedError", "Allow the microphone"),
        ("NotFoundError", "no microphone"),
        ("NotReadableError", "Close it"),
    ],
)
def test_denial_says_what_to_do(page, name, words):
    """Each way a browser refuses a microphone has words that help."""
    page.evaluate(
        "(name) => { navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('no', name)); }",
        name,
    )
    start(page)

    expect(page.get_by_role("status", name="Microphone")).to_contain_text(words)


def test_daemon_that_goes_away_ends_the_recording(page, daemon):
    """The line breaks, the page says so and is ready again."""
    start(page)
    expect(page.get_by_role("status", name="Microphone")).to_have_text("On air as ws-1.")
    daemon.drop_calls()

    expect(page.get_by_role("status", name="Microphone")).to_contain_text(
        "Ended: The daemon closed the call."
    )
    expect(page.get_by_role("button", name="Use this browser")).to_be_visible()

"""Chromium sends its microphone through WHIP to the real daemon: an independent WebRTC peer."""

import json
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
import soundfile
from playwright.sync_api import expect

from tests.running import running, speech

pytestmark = [pytest.mark.browser, pytest.mark.daemon, pytest.mark.timeout(240)]
RATE = 48_000
EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples" / "whip"
TOKEN = "kJ3/Zp+Tq0w7Yb9xVnLs2A=="
LOOPBACK = "--allow-loopback-in-peer-connection"
"""Chromium has no loopback candidates otherwise; a sender on another machine needs no flag."""

PUBLISH = """
async ({ callId, token, sound, hidden }) => {
  const makers = {
    microphone: () => navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    }),
    oscillator: () => {
      const context = new AudioContext();
      const oscillator = new OscillatorNode(context, { frequency: 440 });
      const output = context.createMediaStreamDestination();
      oscillator.connect(output);
      oscillator.start();
      return output.stream;
    },
  };
  const stream = await makers[sound]();
  const connection = (globalThis.connection = new RTCPeerConnection());
  const gathered = new Promise((resolve) => {
    connection.onicecandidate = ({ candidate }) => candidate || resolve();
  });
  connection.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
  connection.addTransceiver('video', { direction: 'sendonly' });
  await connection.setLocalDescription();

  const authorised = token ? { Authorization: `Bearer ${token}` } : {};
  const created = await fetch(`/whip?call_id=${callId}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp', ...authorised },
    body: connection.localDescription.sdp,
  });
  if (!created.ok) return { status: created.status };
  globalThis.session = created.headers.get('Location');
  await connection.setRemoteDescription({ type: 'answer', sdp: await created.text() });

  await gathered;
  const wanted = /^a=(ice-ufrag|ice-pwd|mid|candidate|end-of-candidates)|^m=audio/;
  const lines = connection.localDescription.sdp.split('m=video')[0].split('\\r\\n');
  const address = /^(a=candidate:(?:\\S+ ){4})\\S+/;
  const named = (line) => line.replace(address, `$1${crypto.randomUUID()}.local`);
  const known = lines.filter((line) => wanted.test(line)).map(hidden ? named : (line) => line);
  const fragment = known.join('\\r\\n') + '\\r\\n';
  const patched = await fetch(globalThis.session, {
    method: 'PATCH',
    headers: {
      'Content-Type': 'application/trickle-ice-sdpfrag',
      'If-Match': created.headers.get('ETag'),
      ...authorised,
    },
    body: fragment,
  });
  globalThis.finish = () => fetch(globalThis.session, { method: 'DELETE', headers: authorised });
  return {
    status: created.status,
    patched: patched.status,
    fragment,
    directions: connection.getTransceivers().map((each) => each.currentDirection),
  };
}
"""


@pytest.fixture
def spoken(corpus_clips, tmp_path):
    """A machine's voice as a WAV file, for Chromium's microphone."""
    path = tmp_path / "spoken.wav"
    clips = corpus_clips("fake", "dev", 3, min_s=4)
    soundfile.write(path, speech(clips, 20, RATE), RATE, subtype="PCM_16")
    return path


def publish(page, **wish):
    """Begin a WHIP session from the page; returns what it saw."""
    return page.evaluate(PUBLISH, {"token": None, "sound": "microphone", "hidden": False, **wish})


def call_of(page, url, call_id, token=None):
    """What the daemon says about a call."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return json.loads(page.request.get(urljoin(url, f"api/calls/{call_id}"), headers=headers).text())


def until(page, path, condition):
    """Wait until ``condition`` holds for the ``call`` that the page gets from the daemon."""
    script = f"""async () => {{
      for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {{
        const call = await (await fetch('{path}')).json();
        if ({condition}) return true;
      }}
      return false;
    }}"""
    assert page.evaluate(script)


def test_chromiums_microphone_is_scored_over_whip(tmp_path, spoken, launch, open_page):
    """Opus over ICE and DTLS, candidates by PATCH, video declined, until DELETE completes the call."""
    with running(tmp_path, server={"port": 0, "token": TOKEN}) as daemon:
        page = open_page(daemon.url, launch(LOOPBACK, f"--use-file-for-fake-audio-capture={spoken}"))
        page.console.allowed.append("401")  # the page finds out that it needs the token, and so do we
        refused = publish(page, callId="browser-1")
        page.get_by_label("Access token").fill(TOKEN)
        page.get_by_role("button", name="Connect").click()
        said = publish(page, callId="browser-1", token=TOKEN)

        assert refused == {"status": 401}
        assert (said["status"], said["patched"]) == (201, 204)
        assert "typ host" in said["fragment"]
        assert said["directions"] == ["sendonly", "inactive"]
        meter = page.get_by_role("article", name="Call browser-1").get_by_role("meter")
        expect(meter).to_have_attribute("aria-valuetext", re.compile(r"\d+%, "), timeout=60_000)

        assert page.evaluate("globalThis.finish().then((answer) => answer.status)") == 200
        expect(page.get_by_role("region", name="Ended calls").get_by_text("browser-1")).to_be_visible()
        call = call_of(page, daemon.url, "browser-1", TOKEN)
        assert (call["source"], call["end_reason"], call["sample_rate"]) == ("whip", "completed", RATE)
        assert call["legs"][0]["scored"] > 0
        page.close()


def test_hidden_addresses_and_a_vanished_page(tmp_path, launch, open_page):
    """Candidates that are mDNS names are not needed; a page that just goes away completes its call.

    Chromium itself names no candidates so while loopback ones are allowed: the test does it in its place.
    """
    with running(tmp_path) as daemon:
        browser = launch(LOOPBACK, "--autoplay-policy=no-user-gesture-required")
        page = open_page(daemon.url, browser)
        said = publish(page, callId="browser-2", sound="oscillator", hidden=True)

        assert (said["status"], said["patched"]) == (201, 204)
        assert ".local " in said["fragment"]
        assert "127.0.0.1" not in said["fragment"]
        until(page, "/api/calls/browser-2", "call.legs[0].windows > 0")
        page.evaluate("globalThis.connection.close()")
        expect(page.get_by_role("region", name="Ended calls").get_by_text("browser-2")).to_be_visible(
            timeout=60_000
        )
        call = call_of(page, daemon.url, "browser-2")
        assert call["end_reason"] == "completed"
        page.close()


def test_the_example_for_web_pages_works_as_it_stands(tmp_path, launch, open_page):
    """The documentation's script publishes the microphone, without a single candidate, and ends the call."""
    script = (EXAMPLES / "publish.js").read_text().replace("export ", "")
    with running(tmp_path) as daemon:
        page = open_page(daemon.url, launch(LOOPBACK))
        page.evaluate(f"async () => {{ {script} globalThis.stop = await publish('/whip?call_id=page-1'); }}")
        until(page, "/api/calls/page-1", "call.duration_s > 1")
        page.evaluate("globalThis.stop()")
        expect(page.get_by_role("region", name="Ended calls").get_by_text("page-1")).to_be_visible(
            timeout=60_000
        )

        assert call_of(page, daemon.url, "page-1")["end_reason"] == "completed"
        page.close()

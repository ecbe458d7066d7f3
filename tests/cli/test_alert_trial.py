import json
import re
import sys
from pathlib import Path

import pytest
import standardwebhooks
import yaml

from tests.alerts.hook_servers import JsonServer, PagerDutyServer

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "R0" + "a1" * 15

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise imports it in passing."""


@pytest.fixture
def configured(tmp_path):
    """Write a configuration with these alerts; gives its path."""

    def write(**alerts):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump({"alerts": alerts}))
        return path

    return write


def test_every_hook_gets_a_test_alert(fac, configured, tmp_path):
    """Raised and over, by all kinds of hooks, whatever they ask for; no incident stays open."""
    code = f"import sys; open({str(tmp_path / 'said')!r}, 'a').write(sys.stdin.read() + chr(10))"
    with JsonServer() as desk, JsonServer() as chat, PagerDutyServer(KEY) as pager:
        path = configured(
            webhooks=[{"url": desk.url, "secret": SECRET, "allow_private": True, "min_severity": "critical"}],
            apprise=[{"name": "chat", "url": f"json://127.0.0.1:{chat.port}", "categories": ["health"]}],
            pagerduty=[
                {"name": "pager", "routing_key": KEY, "url": f"{pager.url}/v2/enqueue", "allow_private": True}
            ],
            commands=[{"name": "siren", "command": [sys.executable, "-c", code]}],
        )
        outcome = fac("alerts", "test", "--config", path)

        _, headers, body = desk.posts.get_nowait()
        assert standardwebhooks.Webhook(SECRET).verify(body, headers)["data"]["rule"] == "test"
        assert [chat.get()["type"] for _ in range(2)] == ["info", "success"]
        assert list(pager.incidents.values()) == ["resolved"]
    said = [json.loads(line)["type"] for line in (tmp_path / "said").read_text().splitlines()]
    assert said == ["alert.raised", "alert.resolved"]
    assert outcome.code == 0, outcome.err
    assert [line.split()[:3] for line in outcome.out.splitlines()] == [
        ["ok", "webhook", "127.0.0.1"],
        ["ok", "apprise", "chat"],
        ["ok", "pagerduty", "pager"],
        ["ok", "command", "siren"],
    ]


def test_a_hook_that_fails_is_told(fac, configured):
    """With the reason and exit code 1; one hook can be tried by its name; addresses are not repeated."""
    with JsonServer(lambda path, body: (500, {})) as desk:
        path = configured(
            webhooks=[
                {"name": "desk", "url": f"{desk.url}/hidden", "secret": SECRET, "allow_private": True},
                {"name": "private", "url": f"{desk.url}/hidden2", "secret": SECRET},
            ],
            commands=[{"name": "fine", "command": ["/bin/true"]}],
        )
        every = fac("alerts", "test", "--config", path, "--json")
        fine = fac("alerts", "test", "--config", path, "--hook", "fine")

    results = [json.loads(line) for line in every.out.splitlines()]
    assert [(it["hook"], it["delivered"]) for it in results] == [
        ("desk", False),
        ("private", False),
        ("fine", True),
    ]
    assert results[0]["attempts"][0]["detail"] == "HTTP 500"
    assert "allow_private" in results[1]["attempts"][0]["detail"]
    assert "hidden" not in every.out + every.err
    assert (every.code, fine.code) == (1, 0)


def test_what_cannot_be_tried_is_told(fac, configured):
    """No hooks, none of that name, or one that cannot work: exit code 2 and what to do."""
    nobody = fac("alerts", "test", "--config", configured())
    unknown = fac("alerts", "test", "--config", configured(), "--hook", "desk")
    path = configured(apprise=[{"name": "chat", "url": "nothing://hidden"}])
    broken = fac("alerts", "test", "--config", path)
    checked = fac("config", "check", path)

    assert "docs/hooks.md" in nobody.err
    assert "'desk'" in unknown.err
    assert "chat: Apprise does not know such a url" in broken.err
    assert "chat: Apprise does not know such a url" in checked.err
    assert "hidden" not in broken.err + checked.err
    assert [nobody.code, unknown.code, broken.code, checked.code] == [2, 2, 2, 2]


def test_no_secret_of_a_hook_is_shown(fac, configured):
    """``fac config show`` masks keys and addresses that are passwords."""
    path = configured(
        webhooks=[{"url": "https://h/hidden", "secret": [SECRET, SECRET[:-1] + "x"]}],
        apprise=[{"name": "chat", "url": "slack://hidden/hidden/hidden"}],
        pagerduty=[{"name": "pager", "routing_key": KEY}],
    )

    shown = fac("config", "show", "--config", path).out

    assert "hidden" not in shown
    assert KEY not in shown
    assert SECRET[8:20] not in shown


@pytest.mark.parametrize("page", ["hooks.md", "webhooks.md"])
def test_the_documented_hooks_are_ones(fac, tmp_path, page):
    """Every configuration on the pages is taken as it stands, but for programs that are not here."""
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example)
        told = fac("config", "check", path).err.splitlines()

        assert [line for line in told if "no program that this user may run" not in line] == []

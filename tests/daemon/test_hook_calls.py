"""An alert of a real call goes through the daemon's outbox to every kind of hook."""

import asyncio
import base64
import json
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.alerts.hook_servers import JsonServer, PagerDutyServer
from tests.running import running, stream

pytestmark = [pytest.mark.daemon, pytest.mark.programs("espeak-ng")]

KEY = "R0" + "a1" * 15
SEED = bytes(range(32))
HIDDEN = "hidden-in-the-address"
CODE = """
import json, os, sys
with open(sys.argv[1], "a") as file:
    file.write(json.dumps([json.load(sys.stdin), os.environ["FAC_ALERT_MESSAGE"]]) + chr(10))
"""


def alerts_of(desk, refused, chat, pager, said):
    """A configuration with every kind of hook; one of them leads where it may not."""
    often = {"first_retry_s": 0.05, "timeout_s": 60.0}
    signed = {"secret": "whsk_" + base64.b64encode(SEED).decode(), **often}
    page = {"name": "pager", "routing_key": KEY, "url": f"{pager.url}/v2/enqueue", "allow_private": True}
    siren = {"name": "siren", "command": [sys.executable, "-c", CODE, str(said)]}
    return {
        "webhooks": [
            {"url": f"{desk.url}/{HIDDEN}", "allow_private": ["127.0.0.0/8"], **signed},
            {"url": f"{refused.url}/{HIDDEN}", "max_attempts": 1, **signed},
        ],
        "apprise": [{"name": "chat", "url": f"json://127.0.0.1:{chat.port}/{HIDDEN}", **often}],
        "pagerduty": [page | often],
        "commands": [siren | {"message": "$state: $call_id"} | often],
    }


def check_posts(posts):
    """Each is signed, and what was refused came again before what resolves it; gives the alert's id."""
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    for _, headers, body in posts:
        scheme, _, signature = headers["webhook-signature"].partition(",")
        assert scheme == "v1a"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        public.verify(base64.b64decode(signature), signed)
    bodies = [json.loads(body) for _, _, body in posts]
    assert [body["type"] for body in bodies] == ["alert.raised"] * 3 + ["alert.resolved"]
    (alert_id,) = {body["data"]["alert_id"] for body in bodies}
    return alert_id


async def test_an_alert_reaches_every_kind_of_hook(tmp_path, voice):
    """Raised and resolved, in this order, signed, tried again where refused; no secret is left behind."""
    said, answers = tmp_path / "said", [503, 500]
    with (
        JsonServer(lambda path, body: (answers.pop() if answers else 204, {"retry-after": "0"})) as desk,
        JsonServer() as refused,
        JsonServer() as chat,
        PagerDutyServer(KEY, before=[(429, {"retry-after": "0"})]) as pager,
    ):
        alerts = alerts_of(desk, refused, chat, pager, said)
        with running(tmp_path, alerts=alerts, decision={"raise_at": 0.0}) as daemon:
            hello = {"sample_rate": 16000, "encoding": "pcm_s16le", "channels": 1, "call_id": "hooked"}
            await stream(daemon.ws("/ws/ingest"), hello, voice, bytes_per_s=32000, pace=0)

            def told():
                posts = [desk.posts.get(timeout=60) for _ in range(4)]
                return posts, [chat.get(), chat.get()], [pager.get() for _ in range(3)]

            posts, chats, _ = await asyncio.to_thread(told)
            assert daemon.stop() == 0  # what is due is delivered before the end
        assert refused.posts.empty()
        log = daemon.log.read_text()

    alert_id = check_posts(posts)
    assert [it["type"] for it in chats] == ["failure", "success"]
    assert pager.incidents == {alert_id: "resolved"}
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert [message for _, message in lines] == ["raised: hooked", "resolved: hooked"]
    assert {body["data"]["alert_id"] for body, _ in lines} == {alert_id}
    assert "allow_private" in log
    kept = log.encode() + b"".join(it.read_bytes() for it in tmp_path.glob("*.db*"))
    for hidden in (HIDDEN, KEY, base64.b64encode(SEED).decode()[:20]):
        assert hidden.encode() not in kept

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


async def test_an_alert_reaches_every_kind_of_hook(tmp_path, voice):
    """Raised and resolved, in this order, signed, tried again where refused; no secret is left behind."""
    said = tmp_path / "said"
    answers = [503, 500]

    def busy_at_first(path, body):
        return (answers.pop() if answers else 204), {"retry-after": "0"}

    with (
        JsonServer(busy_at_first) as desk,
        JsonServer() as refused,
        JsonServer() as chat,
        PagerDutyServer(KEY, before=[(429, {"retry-after": "0"})]) as pager,
    ):
        hook = {"first_retry_s": 0.05, "timeout_s": 60.0}
        secret = "whsk_" + base64.b64encode(SEED).decode()
        alerts = {
            "webhooks": [
                {"url": f"{desk.url}/{HIDDEN}", "secret": secret, "allow_private": ["127.0.0.0/8"], **hook},
                {"url": f"{refused.url}/{HIDDEN}", "secret": secret, "max_attempts": 1, **hook},
            ],
            "apprise": [{"name": "chat", "url": f"json://127.0.0.1:{chat.port}/{HIDDEN}", **hook}],
            "pagerduty": [
                {
                    "name": "pager",
                    "routing_key": KEY,
                    "url": f"{pager.url}/v2/enqueue",
                    "allow_private": True,
                    **hook,
                }
            ],
            "commands": [
                {
                    "name": "siren",
                    "command": [sys.executable, "-c", CODE, str(said)],
                    "message": "$state: $call_id",
                    **hook,
                }
            ],
        }
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

    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    for _, headers, body in posts:
        scheme, _, signature = headers["webhook-signature"].partition(",")
        assert scheme == "v1a"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        public.verify(base64.b64decode(signature), signed)
    kinds = [json.loads(body)["type"] for _, _, body in posts]
    assert kinds == ["alert.raised"] * 3 + ["alert.resolved"]
    assert [it["type"] for it in chats] == ["failure", "success"]
    alert_id = json.loads(posts[0][2])["data"]["alert_id"]
    assert pager.incidents == {alert_id: "resolved"}
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert [message for _, message in lines] == ["raised: hooked", "resolved: hooked"]
    assert {body["data"]["alert_id"] for body, _ in lines} == {alert_id}
    assert "allow_private" in log
    kept = log.encode() + b"".join(it.read_bytes() for it in tmp_path.glob("alerts.db*"))
    for hidden in (HIDDEN, KEY, base64.b64encode(SEED).decode()[:20]):
        assert hidden.encode() not in kept

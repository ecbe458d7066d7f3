"""What people and machines send by mistake or in malice: a clear error, and the daemon goes on."""

import asyncio
import base64
import io
import json
import os
import re
import socket
import struct
import time
import urllib.error
import urllib.request
import wave

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.running import Subscriber, running, s16, stream

pytestmark = pytest.mark.daemon

PATIENCE_S = 60
HELLO = {"sample_rate": 16000, "encoding": "pcm_s16le", "channels": 1}
FLOATS = {**HELLO, "encoding": "pcm_f32le"}
SECOND = s16(0.1 * np.sin(np.arange(16000)))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon for all of it: each test finds it as the one before left it."""
    with running(tmp_path_factory.mktemp("daemon")) as started:
        started.idle = tasks(started)
        yield started


def tasks(daemon):
    """How many tasks its event loop has."""
    with urllib.request.urlopen(daemon.url + "metrics", timeout=30) as answer:
        (line,) = re.findall(rb"^fac_tasks (.+)$", answer.read(), re.MULTILINE)
    return float(line)


def settled(daemon):
    """Its health once no call is left and no task more than at the start."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with urllib.request.urlopen(daemon.url + "api/health", timeout=30) as answer:
            health = json.load(answer)
        if (health["calls"], tasks(daemon)) == (0, daemon.idle) or time.monotonic() > until:
            return health
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def goes_on(daemon):
    """After each mistake: health is ok, no call or task is left, and a good call is scored to its end."""
    yield
    health = settled(daemon)
    assert (health["status"], health["calls"], tasks(daemon)) == ("ok", 0, daemon.idle)
    ended = asyncio.run(stream(daemon.ws("/ws/ingest"), HELLO, 3 * SECOND, bytes_per_s=32000, pace=0))
    assert (ended["reason"], ended["legs"][0]["windows"]) == ("completed", 3)


async def refused(daemon, *messages):
    """Send these over /ws/ingest; returns the error message and the close code."""
    last = {}
    async with connect(daemon.ws("/ws/ingest"), max_size=2**24) as ingest, asyncio.timeout(30):
        try:
            for message in messages:
                await ingest.send(message if isinstance(message, bytes | str) else json.dumps(message))
            while True:
                last = json.loads(await ingest.recv())
        except ConnectionClosed as closed:
            return last, closed.rcvd.code


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{**HELLO, "sample_rate": 1}], "sample_rate"),
        ([{**HELLO, "sample_rate": 10**9}], "sample_rate"),
        ([{**HELLO, "encoding": "mp3"}], "encoding"),
        ([{**HELLO, "channels": 99}], "channels"),
        ([{**HELLO, "call_id": "../../etc"}], "call_id"),
        ([{**HELLO, "nonsense": True}], "nonsense"),
        (["hello"], "JSON"),
        (["[" * 10000], "JSON"),
        ([SECOND], "hello"),
        ([HELLO, "some text"], "JSON"),
        ([HELLO, SECOND + b"\0", {"type": "end"}], "sample"),
        ([FLOATS, struct.pack("<f", float("nan")) * 40000], "NaN or infinity"),
        ([FLOATS, struct.pack("<f", float("inf")) * 40000], "NaN or infinity"),
        ([FLOATS, struct.pack("<f", 32767.0) * 40000], "divide 16-bit integers by 32768"),
    ],
    ids=[
        "slow rate",
        "fast rate",
        "encoding",
        "channels",
        "call id",
        "unknown key",
        "no JSON",
        "deep JSON",
        "no hello",
        "text later",
        "odd byte",
        "NaN",
        "infinity",
        "integers as floats",
    ],
)
async def test_a_sender_that_breaks_the_format_is_told_what_is_wrong(daemon, messages, says):
    """The last message says what is wrong, the close code is 4400."""
    error, code = await refused(daemon, *messages)

    assert code == 4400
    assert error["type"] == "error"
    assert says.lower() in error["message"].lower()


async def test_a_giant_message_is_refused(daemon):
    """A message above ingest.max_message_bytes closes the connection with 1009, before it is taken in."""
    _, code = await refused(daemon, HELLO, bytes(2 * 1024 * 1024))

    assert code == 1009


async def talk(ingest):
    """Send audio in real time: a connection that sends none may be taken over."""
    while True:
        await ingest.send(SECOND[:3200])
        await asyncio.sleep(0.1)


async def test_an_id_in_use_is_refused(daemon):
    """A second call with the id of one that is going on is told so; the first goes on."""
    hello = {**HELLO, "call_id": "twice"}
    async with connect(daemon.ws("/ws/ingest")) as first, asyncio.TaskGroup() as group:
        await first.send(json.dumps(hello))
        assert json.loads(await first.recv())["type"] == "ready"

        talking = group.create_task(talk(first))
        error, code = await refused(daemon, hello)
        talking.cancel()
        await first.send('{"type":"end"}')

        assert json.loads(await first.recv())["type"] == "ended"
    assert (code, error["code"]) == (4409, "call_id_in_use")


async def test_a_sender_that_vanishes_ends_its_call(daemon):
    """A connection that breaks without a close ends the call as lost."""
    subscriber, connected = Subscriber(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            subscriber.run(daemon.ws("/ws/events"), lambda e: e.type == "call.ended", connected)
        )
        await connected.wait()
        ingest = await connect(daemon.ws("/ws/ingest"))
        await ingest.send(json.dumps(HELLO))
        await ingest.recv()
        await ingest.send(SECOND)
        ingest.transport.abort()

    assert subscriber.of("call.ended")[0].reason == "source_lost"


def upload(daemon, data, path="api/predict/upload", content_type=None):
    """POST; returns the status and the JSON answer."""
    if content_type is None:
        content_type = "multipart/form-data; boundary=x"
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        data = head + data + b"\r\n--x--\r\n"
    request = urllib.request.Request(daemon.url + path, data, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=110) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wav(samples, rate=8000):
    """A 16-bit mono WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"this is no sound", 415),
        (wav(b""), 422),
        (wav(SECOND)[:30], 415),
        (os.urandom(10000), 415),
    ],
    ids=["empty", "text", "wav without samples", "half a header", "random"],
)
def test_a_file_that_cannot_be_scored_is_refused(daemon, data, status):
    """The answer is an error with a stable code and a sentence, not a score."""
    answered, body = upload(daemon, data)

    assert answered == status
    assert set(body) == {"error"}
    assert body["error"]["code"]
    assert len(body["error"]["message"]) > 10


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"audio": "%%%"}', 422),
        (b'{"audio": ""}', 422),
        (json.dumps({"audio": base64.b64encode(SECOND).decode()}).encode(), 422),
        (json.dumps({"audio": "A" * 9 * 1024 * 1024}).encode(), 413),
    ],
    ids=["broken", "list", "no audio", "no base64", "empty", "raw without a rate", "too large"],
)
def test_a_bad_realtime_request_is_refused(daemon, body, status):
    """The predecessor's second endpoint: what is wrong is said in JSON."""
    answered, answer = upload(daemon, body, "api/predict/realtime", "application/json")

    assert (answered, set(answer)) == (status, {"error"})


def test_a_three_hour_file_is_scored_in_bounded_memory(daemon):
    """Three hours at 8 kHz come back with a window each hop; the daemon does not keep the samples."""
    before = resident_mb(daemon)

    status, body = upload(daemon, wav(bytes(3 * 3600 * 8000 * 2)))

    assert status == 200
    assert (body["prediction"], body["fakeness_score"]) == ("unknown", None)
    assert len(body["windows"]) == (3 * 3600 - 2) * 2 + 1
    assert resident_mb(daemon) - before < 400


def resident_mb(daemon):
    """Memory of the daemon's process, MB."""
    with open(f"/proc/{daemon.process.pid}/statm") as file:  # noqa: PTH123 - a kernel file
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


@pytest.mark.parametrize(
    "path", ["api/calls/nobody", "nowhere", "api/graph/../bundle.json", "..%2f..%2fetc/passwd"]
)
def test_what_is_not_there_is_not_found(daemon, path):
    """404 as JSON, and no way out of the dashboard's folder."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(daemon.url + path, timeout=30)

    with caught.value as error:
        assert error.code in (403, 404)
        assert json.load(error)["error"]["code"]


@pytest.mark.timeout(300)
async def test_a_subscriber_that_stops_reading_harms_nobody(daemon):
    """One subscriber never reads; calls are scored, other subscribers get everything."""
    host, port = daemon.url.removeprefix("http://").rstrip("/").split(":")
    deaf = socket.create_connection((host, int(port)))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    key = base64.b64encode(os.urandom(16)).decode()
    deaf.sendall(
        f"GET /ws/events HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    with deaf:
        for number in range(5):
            subscriber, connected = Subscriber(), asyncio.Event()
            hello = {**HELLO, "call_id": f"deaf-{number}"}
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    subscriber.run(daemon.ws("/ws/events"), lambda e: e.type == "call.ended", connected)
                )
                await connected.wait()
                await stream(daemon.ws("/ws/ingest"), hello, 60 * SECOND, bytes_per_s=32000, pace=0)
            assert [e.index for e in subscriber.of("window.scored")] == list(range(117))

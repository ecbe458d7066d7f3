"""A daemon that says what a test tells it to: the dashboard's files, its HTTP answers, its two WebSockets."""

import asyncio
import base64
import hmac
import json
import struct
import threading
import zlib
from datetime import timedelta
from pathlib import Path

from aiohttp import WSMsgType, web

from fac_stream.events import AlertMarked, CallDetail, Snapshot, encode
from fac_stream.server.headers import SECURITY
from tests.browser.messages import MODEL, START

WEB = Path(__file__).resolve().parents[2] / "web"
PLOTS = ["training_history", "roc", "confusion_matrix", "score_distribution"]
DEADLINE_S = 20


def png(width=64, height=48):
    """A grey picture."""
    rows = b"".join(b"\0" + bytes([200]) * width for _ in range(height))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


class ScriptedDaemon:
    """Runs on a thread of its own; tests call its methods from theirs."""

    def __init__(self, token=None):
        self.token = token
        self.calls = []
        """Live calls, in the snapshot and in /api/calls."""
        self.ended = []
        self.timelines = {}
        """Call id to leg to points."""
        self.alerts = {}
        """Alert id to what GET /api/alerts/{id} answers, oldest first."""
        self.marked = []
        """Alert id and body of each mark."""
        self.marking = 200
        """Status of the next marks."""
        self.saliency = (404, {"error": {"code": "no_evidence", "message": "no audio is kept"}})
        """Status and body of the next pictures."""
        self.upload = (200, {})
        """Status and body of the next uploads."""
        self.uploaded = []
        self.asked = []
        """What pages sent on /ws/events."""
        self.subprotocols = []
        self.ingested = []
        self.mute = False
        """Whether requests for a snapshot go unanswered."""
        self.accepting = True
        self.loaded = True
        self.graphs = 200
        """Status of the plots."""
        self._sockets = set()
        self._incoming = set()
        self._seq = 0
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    # What tests use

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def say(self, *events):
        """Publish events, numbered, stamped."""
        for event in events:
            self._seq += 1
            stamped = event.model_copy(
                update={"seq": self._seq, "time": event.time or START + timedelta(seconds=self._seq)}
            )
            self.say_raw(encode(stamped))

    def say_raw(self, text):
        """Send any text to every subscriber."""
        asyncio.run_coroutine_threadsafe(self._broadcast(text), self._loop).result(DEADLINE_S)

    def hang_up(self, code=1001, reason=""):
        """Close every subscriber's socket."""
        asyncio.run_coroutine_threadsafe(self._close(code, reason), self._loop).result(DEADLINE_S)

    def drop_calls(self):
        """Close every incoming call."""
        asyncio.run_coroutine_threadsafe(self._close(1011, "", self._incoming), self._loop).result(DEADLINE_S)

    def until(self, condition):
        """Wait until something that a page did makes ``condition`` true."""
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), "the page did not do it in time"

    @property
    def subscribers(self):
        """How many pages listen."""
        return len(self._sockets)

    @property
    def connections(self):
        """How many times a page has connected."""
        return len(self.subprotocols)

    # What pages see

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(middlewares=[self._guard], client_max_size=2**26)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/api/model/status", self._status),
                web.get("/api/calls", self._list),
                web.get("/api/calls/{call_id}", self._detail),
                web.get("/api/graph/{name}", self._graph),
                web.get("/api/alerts", self._alerts),
                web.get("/api/alerts/{alert_id}", self._alert),
                web.post("/api/alerts/{alert_id}/marks", self._mark),
                web.get("/api/alerts/{alert_id}/saliency", self._saliency),
                web.post("/api/predict/upload", self._predict),
                web.get("/ws/events", self._events),
                web.get("/ws/ingest", self._ingest),
                web.static("/", WEB),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        self._ready.set()
        await self._stop.wait()
        await self._close(1001, "")
        await runner.cleanup()

    @web.middleware
    async def _guard(self, request, handler):
        protected = request.path.startswith(("/api/", "/ws/"))
        if self.token is None or not protected:
            return await handler(request)
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
        for name in request.headers.get("Sec-WebSocket-Protocol", "").split(", "):
            if name.startswith("fac.token."):
                encoded = name.removeprefix("fac.token.")
                offered = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        if hmac.compare_digest(offered.encode(), self.token.encode()):
            return await handler(request)
        return _error(401, "unauthorized", "send the token of this daemon")

    async def _page(self, _):
        return web.FileResponse(WEB / "index.html", headers=SECURITY)

    async def _status(self, _):
        eer = {"value": 0.2, "low": 0.15, "high": 0.26}
        facts = {"device": "cpu", "accuracy": 0.93, "eer": eer, "version": "1.0"}
        body = {"loaded": self.loaded, **facts, "plots": PLOTS}
        return web.json_response(body, status=200 if self.loaded else 503)

    async def _list(self, _):
        calls = [call.model_dump(mode="json") for call in [*self.calls, *self.ended]]
        return web.json_response({"calls": calls})

    async def _detail(self, request):
        found = [c for c in [*self.calls, *self.ended] if c.call_id == request.match_info["call_id"]]
        if not found:
            return _error(404, "not_found", "no such call")
        detail = CallDetail(
            **found[0].model_dump(), timeline=self.timelines.get(found[0].call_id, {})
        ).model_dump(mode="json")
        return web.json_response(detail)

    async def _graph(self, request):
        assert request.match_info["name"] in PLOTS
        if self.graphs != 200:
            return _error(self.graphs, "unavailable", "the bundle is being replaced")
        return web.Response(body=png(), content_type="image/png")

    async def _alerts(self, request):
        found = [it for it in self.alerts.values() if it["category"] == request.query["category"]]
        return web.json_response({"alerts": found[::-1]})

    async def _mark(self, request):
        alert_id, body = request.match_info["alert_id"], await request.json()
        self._note(self.marked, (alert_id, body))
        if self.marking != 200:
            return _error(self.marking, "not_saved", "the disk is full: make room")
        record = self.alerts[alert_id]
        mark = AlertMarked(alert_id=alert_id, time=START, **body).model_dump(mode="json")
        record["marks"] = [*record["marks"], mark]
        return web.json_response(record)

    async def _alert(self, request):
        record = self.alerts.get(request.match_info["alert_id"])
        if record is None:
            return _error(404, "no_such_alert", "there is no alert with this id")
        return web.json_response(record)

    async def _saliency(self, _):
        status, body = self.saliency
        return web.json_response(body, status=status)

    async def _predict(self, request):
        field = await (await request.multipart()).next()
        self._note(self.uploaded, (field.name, field.filename, bytes(await field.read())))
        status, body = self.upload
        return web.json_response(body, status=status)

    async def _events(self, request):
        if not self.accepting:
            return _error(503, "shutting_down", "try again later")
        socket = web.WebSocketResponse(protocols=("fac.v1",))
        await socket.prepare(request)
        self._note(self.subprotocols, socket.ws_protocol)
        await socket.send_str(self._snapshot())
        with self._changed:
            self._sockets.add(socket)
            self._changed.notify_all()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._note(self.asked, json.loads(message.data))
                    if not self.mute:
                        await socket.send_str(self._snapshot())
        finally:
            with self._changed:
                self._sockets.discard(socket)
                self._changed.notify_all()
        return socket

    async def _ingest(self, request):
        socket = web.WebSocketResponse(protocols=("fac.v1",))
        await socket.prepare(request)
        call = {"hello": None, "audio": bytearray(), "ended": False}
        self._incoming.add(socket)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                with self._changed:
                    call["audio"] += message.data
                    self._changed.notify_all()
                continue
            data = json.loads(message.data)
            if data.get("type") == "end":
                call["ended"] = True
                await socket.send_json({"type": "ended", "call_id": "ws-1"})
                await socket.close()
            else:
                call["hello"] = data
                self._note(self.ingested, call)
                if not self.accepting:
                    await socket.send_json(
                        {"type": "error", "code": "full", "message": "100 calls are going on"}
                    )
                    await socket.close(code=1013)
                else:
                    await socket.send_json({"type": "ready", "call_id": "ws-1"})
        self._incoming.discard(socket)
        with self._changed:
            self._changed.notify_all()
        return socket

    def _snapshot(self):
        return encode(
            Snapshot(
                seq=self._seq,
                time=START,
                model=MODEL,
                device="cpu",
                hop_s=0.5,
                raise_at=0.9,
                suspect_at=0.7,
                clear_at=0.5,
                calls=self.calls,
            )
        )

    async def _broadcast(self, text):
        for socket in list(self._sockets):
            await socket.send_str(text)

    async def _close(self, code, reason, sockets=None):
        for socket in list(self._sockets if sockets is None else sockets):
            await socket.close(code=code, message=reason.encode())

    def _note(self, notes, note):
        with self._changed:
            notes.append(note)
            self._changed.notify_all()


def _error(status, code, message):
    return web.json_response({"error": {"code": code, "message": message}}, status=status)

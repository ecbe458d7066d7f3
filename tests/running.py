"""The real daemon, as a process, with the shipped model; real sockets on both sides."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import numpy as np
import soundfile
import soxr
import yaml
from websockets.asyncio.client import connect

from fac_stream.events import decode

START_S = 60
"""Seconds that a loaded machine may need to start the daemon."""


class Daemon:
    """A running daemon process."""

    def __init__(self, process, url, log):
        self.process = process
        self.url = url
        self.log = log
        """Its standard error."""

    def ws(self, path):
        """The address of a WebSocket path."""
        return self.url.replace("http", "ws", 1) + path.lstrip("/")

    def stop(self):
        """Ask it to stop; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def running(folder: Path, **settings):
    """Start ``fac run`` with these sections of the configuration on a free port, its state in ``folder``."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"server": {"port": 0}, **settings}))
    log = folder / "daemon.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fac_stream", "run", "--no-mic", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"STATE_DIRECTORY": str(folder)},
        )
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        address = next(
            (found for line in process.stdout if (found := re.search(r"https?://\S+/", line))), None
        )
        watchdog.cancel()
        assert address, f"the daemon did not start:\n{log.read_text()}"
        yield Daemon(process, address[0], log)
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


class Receiver:
    """A webhook receiver on a thread of its own; refuses the first ``failures`` posts."""

    def __init__(self, failures=0):
        self.posts = Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                nonlocal failures
                body = self.rfile.read(int(self.headers["content-length"]))
                failures, refused = failures - 1, failures > 0
                self.send_response(500 if refused else 204)
                self.end_headers()
                if not refused:
                    receiver.posts.put((dict(self.headers), body))

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def speech(paths, seconds, rate=16_000):
    """Clips one after the other, ``[seconds * rate]`` float32 at ``rate``."""
    clips = []
    for path in paths:
        samples, clip_rate = soundfile.read(path, dtype="float32")
        clips.append(soxr.resample(samples, clip_rate, rate))
    return np.resize(np.concatenate(clips), round(seconds * rate))


def s16(samples):
    """``pcm_s16le`` bytes."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


async def stream(url, hello, data, *, bytes_per_s, pace, packet_s=0.02):
    """Send a call ``pace`` times as fast as real time (0: at once); returns the last message."""
    size = round(bytes_per_s * packet_s)
    loop = asyncio.get_running_loop()
    async with connect(url, max_size=2**24) as socket:
        await socket.send(json.dumps(hello))
        ready = json.loads(await socket.recv())
        assert ready["type"] == "ready", ready
        started = loop.time()
        for i in range(0, len(data), size):
            await socket.send(data[i : i + size])
            if pace:
                await asyncio.sleep(started + (i / bytes_per_s) / pace - loop.time())
        await socket.send('{"type":"end"}')
        async with asyncio.timeout(60):
            return json.loads(await socket.recv())


class Subscriber:
    """Collects events of a daemon until told to stop."""

    def __init__(self):
        self.events = []
        self.scored = asyncio.Event()

    async def run(self, url, until, connected):
        """Read until ``until(event)``; sets ``connected`` after the snapshot."""
        async with asyncio.timeout(90), connect(url, max_size=2**24) as socket:
            async for message in socket:
                event = decode(message)
                self.events.append(event)
                if event.type == "window.scored":
                    self.scored.set()
                connected.set()
                if until(event):
                    return

    def of(self, kind, **fields):
        """Events of a type with these values."""
        return [
            e
            for e in self.events
            if e.type == kind and all(getattr(e, name) == value for name, value in fields.items())
        ]

"""Does the daemon hold out with N calls of every kind, each ending after a while and followed by another?

    python bench/mixed_calls.py --calls 100 --minutes 10 --hop 2.0

Starts the daemon as a process with the shipped model and every listener. Processes of their own host the
senders, at real-time pace: emulators of the telephone systems from ``tests/peers``, a call of 30 to 90 s on
one path, then one on the next. One call is a stream by URL and one comes by standard input; those last as
long as the bench. Prints what the daemon did with them and what it used for it; exits with 1 where a call did
not complete, a window was not looked at in time, or file descriptors are left over.
"""

import argparse
import asyncio
import collections
import io
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from aiohttp import web
from live_calls import cpu_s, speech
from websockets.asyncio.client import connect

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding
from tests.peers.paths import LISTENERS, PATHS, REFERENCES, Address, address_of

BYTES_PER_S = 32_000
SPEECH_S = 120
RTP_PORTS = [42_000, 43_999]
MIX = {"ingest": REFERENCES["pcm16"], "ingest-mulaw": REFERENCES["mulaw"], **PATHS}
STEP = 7
"""Places in the mix from one call of a sender to its next; shares no factor with their number."""
LAST_CALL_S = 5.0
"""A call that would be shorter is not begun."""
SETTLE_S = 30.0
LEFT_OVER = 3
"""File descriptors: sockets of the HTTP requests that this bench itself makes."""
MISSED = ("late", "overload", "loss", "failed")


@dataclass
class Tally:
    """What one process of senders did."""

    placed: collections.Counter[str] = field(default_factory=collections.Counter)
    """Path → calls that the sender completed."""
    errors: list[str] = field(default_factory=list)
    cpu_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What the senders are to do."""

    address: Address
    until: float
    """On the monotonic clock, which all processes share."""
    shortest_s: float
    longest_s: float
    stagger_s: float
    voice: Path
    """16 kHz s16le."""


def ready() -> None:
    """What a process does first: it imports all that this file does, which takes seconds."""


def host(plan: Plan, senders: range) -> Tally:
    """A process's share of the senders; returns when the time is over."""
    return asyncio.run(_host(plan, senders))


async def _host(plan: Plan, senders: range) -> Tally:
    tally, pcm = Tally(), 2 * await asyncio.to_thread(plan.voice.read_bytes)
    await asyncio.gather(*(_send(plan, number, pcm, tally) for number in senders))
    tally.cpu_s = time.process_time()
    return tally


async def _send(plan: Plan, number: int, pcm: bytes, tally: Tally) -> None:
    """Call after call, each on another path."""
    dice = random.Random(number)  # noqa: S311 - the same calls every time
    await asyncio.sleep(dice.uniform(0, plan.stagger_s))
    names, turn = list(MIX), number
    while (left_s := plan.until - time.monotonic()) > LAST_CALL_S:
        name, turn = names[turn % len(names)], turn + STEP
        size = 2 * round(16_000 * min(dice.uniform(plan.shortest_s, plan.longest_s), left_s))
        begin = 2 * dice.randrange((len(pcm) - size) // 2)
        call_id = f"{dice.getrandbits(32):08x}-0000-4000-8000-{number:04x}{turn:08x}"
        try:
            await MIX[name].place(plan.address, pcm[begin : begin + size], call_id, 1.0)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and the others go on
            tally.errors.append(f"{name} {call_id}: {error!r}"[:300])
        else:
            tally.placed[name] += 1


class Events:
    """What ``/ws/events`` says, counted."""

    def __init__(self) -> None:
        self.latency_ms: list[float] = []
        self.skipped: collections.Counter[str] = collections.Counter()
        self.begun: collections.Counter[str] = collections.Counter()
        self.ended: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.windows = 0
        self.lost_s = 0.0
        self.details: list[str] = []
        self.most = 0
        """Calls at the same time."""
        self.open: dict[str, str] = {}
        """Call → source, of those that go on."""
        self.listening = asyncio.Event()

    async def run(self, url: str) -> None:
        """Count until cancelled."""
        async with connect(url, max_size=2**24) as socket:
            async for message in socket:
                self._take(json.loads(message))
                self.listening.set()

    def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "snapshot":
                for call in event["calls"]:
                    self._begin(call["call_id"], call["source"])
            case "call.started":
                self._begin(event["call_id"], event["source"])
            case "window.scored":
                self.windows += 1
                self.skipped[event["skipped"] or "scored"] += 1
                if event["latency_ms"] is not None:
                    self.latency_ms.append(event["latency_ms"])
            case "call.ended":
                source = self.open.pop(event["call_id"])
                self.ended[source][event["reason"]] += 1
                self.lost_s += event["lost_s"]
                if event["reason"] != "completed":
                    self.details.append(f"{event['call_id']}: {event['reason']}: {event['detail']}"[:300])

    def _begin(self, call_id: str, source: str) -> None:
        self.open[call_id] = source
        self.begun[source] += 1
        self.most = max(self.most, len(self.open))


class Usage:
    """What the daemon's process holds, once a second (Linux)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began, self._cpu_s = time.monotonic(), cpu_s(pid)
        self.samples: list[tuple[float, float, int]] = []
        """Seconds, RSS in MB, file descriptors."""

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(1)

    def sample(self) -> int:
        """Look now; returns the number of open file descriptors."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        descriptors = sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir())
        self.samples.append((time.monotonic() - self._began, rss_mb, descriptors))
        return descriptors

    @property
    def cores(self) -> float:
        """Used on average so far."""
        return (cpu_s(self._pid) - self._cpu_s) / (time.monotonic() - self._began)

    @property
    def slope_mb_h(self) -> float:
        """Growth of the memory over the last two thirds, in which all calls are there: MB an hour."""
        seconds, rss_mb, _ = np.array(self.samples[len(self.samples) // 3 :]).T
        return float(np.polyfit(seconds, rss_mb, 1)[0] * 3600) if len(seconds) > 2 else 0.0


async def measure(
    options: argparse.Namespace, daemon: "subprocess.Popen[str]", url: str, voice: Path
) -> bool:
    """Run the calls and print the tables; whether all went as it should."""
    address = await asyncio.to_thread(address_of, url)
    events, usage = Events(), Usage(daemon.pid)
    tasks = [asyncio.create_task(events.run(address.ws("ws/events")))]
    await events.listening.wait()
    before = usage.sample()
    tasks.append(asyncio.create_task(usage.run()))
    context, loop = multiprocessing.get_context("spawn"), asyncio.get_running_loop()
    with ProcessPoolExecutor(options.peers, mp_context=context) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, ready) for _ in range(options.peers)))
        until = time.monotonic() + 60 * options.minutes
        stagger_s = min(options.shortest, 30 * options.minutes)
        plan = Plan(address, until, options.shortest, options.longest, stagger_s, voice)
        speaking = asyncio.create_task(_speak(daemon, voice, until))
        shares = [range(i, max(1, options.calls - 2), options.peers) for i in range(options.peers)]
        tallies = await asyncio.gather(*(loop.run_in_executor(pool, host, plan, share) for share in shares))
    await speaking
    cores = usage.cores
    await _until(lambda: not events.open)
    await _until(lambda: usage.sample() <= before + LEFT_OVER)
    for task in tasks:
        task.cancel()
    senders = sum(tally.cpu_s for tally in tallies) / (60 * options.minutes)
    _report(options, events, usage, f"the daemon used {cores:.2f} cores, the senders {senders:.2f}")
    problems = _problems(events, tallies, usage.samples[-1][2] - before)
    print("\n".join(["", *(f"NOT AS IT SHOULD BE: {problem}" for problem in problems[:50])]))
    return not problems


async def _until(holds: Callable[[], bool]) -> None:
    """Wait until it holds, or long enough."""
    end = time.monotonic() + SETTLE_S
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - /proc tells nobody
        await asyncio.sleep(0.2)


async def _speak(daemon: "subprocess.Popen[str]", voice: Path, until: float) -> None:
    """Standard input: one call, at real-time pace."""
    assert daemon.stdin is not None
    async for part in _real_time(voice, until - time.monotonic()):
        await asyncio.to_thread(os.write, daemon.stdin.fileno(), part)
    daemon.stdin.close()


async def _real_time(voice: Path, seconds: float) -> AsyncIterator[bytes]:
    """``seconds`` of it, over and over, 0.1 s at a time."""
    pcm = await asyncio.to_thread(voice.read_bytes)
    loop, size = asyncio.get_running_loop(), BYTES_PER_S // 10
    began = loop.time()
    for i in range(round(10 * seconds)):
        first = i * size % (len(pcm) - size)
        yield pcm[first : first + size]
        await asyncio.sleep(began + (i + 1) / 10 - loop.time())


@asynccontextmanager
async def radio(voice: Path, seconds: float) -> AsyncIterator[str]:
    """A stream by HTTP that lasts so long; gives its address."""
    header = io.BytesIO()
    soundfile.write(header, np.zeros(0, np.int16), 16_000, format="WAV", subtype="PCM_16")
    size = BYTES_PER_S // 10 * round(10 * seconds)
    head = bytearray(header.getvalue()[:44])
    head[4:8], head[40:44] = (36 + size).to_bytes(4, "little"), size.to_bytes(4, "little")

    async def play(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        response.content_length = len(head) + size
        await response.prepare(request)
        await response.write(bytes(head))
        async for part in _real_time(voice, seconds):
            await response.write(part)
        return response

    app = web.Application()
    app.add_routes([web.get("/call.wav", play)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/call.wav"
    finally:
        await runner.cleanup()


def _report(options: argparse.Namespace, events: Events, usage: Usage, cpu: str) -> None:
    print(
        f"{options.minutes:g} minutes, {sum(events.begun.values())} calls, at most {events.most} at a time, "
        f"hop {options.hop:g} s; {cpu}\n"
    )
    reasons = sorted({reason for ended in events.ended.values() for reason in ended} - {"completed"})
    print(f"{'calls from':14}{'begun':>8}{'completed':>11}" + "".join(f"{reason:>16}" for reason in reasons))
    for source in sorted(events.begun):
        ended = events.ended[source]
        rest = "".join(f"{ended[reason]:16}" for reason in reasons)
        print(f"{source:14}{events.begun[source]:8}{ended['completed']:11}{rest}")
    names = ("scored", "no_speech", *MISSED)
    print(f"\n{'windows':14}" + "".join(f"{name:>11}" for name in names) + f"{'lost s':>11}")
    print(f"{events.windows:<14}" + "".join(f"{events.skipped[name]:11}" for name in names), end="")
    print(f"{events.lost_s:11.1f}\n\n{'milliseconds':14}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}")
    latency = np.percentile(events.latency_ms or [0], [50, 95, 99, 100])
    print(f"{'latency':14}" + "".join(f"{value:8.1f}" for value in latency))
    shown = [usage.samples[round(i * (len(usage.samples) - 1) / 10)] for i in range(11)]
    print(f"\n{'the daemon, s':14}" + "".join(f"{seconds:6.0f}" for seconds, _, _ in shown))
    print(f"{'RSS, MB':14}" + "".join(f"{mb:6.0f}" for _, mb, _ in shown), end="")
    print(f"   {usage.slope_mb_h:+.0f} an hour in the last two thirds")
    print(f"{'descriptors':14}" + "".join(f"{count:6}" for _, _, count in shown))


def _problems(events: Events, tallies: list[Tally], left_over: int) -> list[str]:
    problems = [f"sender: {error}" for tally in tallies for error in tally.errors]
    problems += events.details
    problems += [f"{call_id}: did not end" for call_id in events.open]
    problems += [f"{events.skipped[name]} windows: {name}" for name in MISSED if events.skipped[name]]
    placed = sum(sum(tally.placed.values()) for tally in tallies) + 2
    completed = sum(ended["completed"] for ended in events.ended.values())
    if placed > completed:
        problems.append(f"{placed} calls were placed, {completed} completed")
    if left_over > LEFT_OVER:
        problems.append(f"{left_over} file descriptors are left over")
    return problems


@contextmanager
def running(folder: Path, settings: dict[str, Any]) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """``fac run`` as a process, and its address."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "fac_stream", "run", "--no-mic", "--config", str(config)]
    with (
        (folder / "daemon.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as daemon,
    ):
        assert daemon.stdout is not None
        try:
            yield (
                daemon,
                next(found[0] for line in daemon.stdout if (found := re.search(r"https?://\S+/", line))),
            )
        finally:
            daemon.terminate()


async def _bench(options: argparse.Namespace, folder: Path) -> bool:
    voice = folder / "voice.raw"
    samples = await asyncio.to_thread(speech, options.wav, SPEECH_S)
    voice.write_bytes(encode((0.5 * samples).astype(np.float32), Encoding.PCM_S16LE))
    async with radio(voice, 60 * options.minutes) as url:
        settings = {
            "server": {"port": 0, "subscriber_queue": 50_000},
            "sources": [{"type": "url", "url": url}, {"type": "stdin"}],
            "listeners": LISTENERS | {"rtp": {"ports": RTP_PORTS}},
            "ingest": {"max_calls": 2 * options.calls + 2},
            "windows": {"hop_s": options.hop},
            "alerts": {"database": str(folder / "alerts.db")},
            "history": {"database": str(folder / "history.db"), "audit": str(folder / "audit.jsonl")},
            "logging": {"level": "warning", "format": "json"},
        }
        with running(folder, settings) as (daemon, address):
            return await measure(options, daemon, address, voice)


def main() -> None:
    """Read the command line, run, say whether it went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100, help="at the same time")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--hop", type=float, default=2.0, help="seconds between windows of a call")
    parser.add_argument("--peers", type=int, default=2, help="processes that send")
    parser.add_argument("--shortest", type=float, default=30.0, help="seconds of a call")
    parser.add_argument("--longest", type=float, default=90.0)
    parser.add_argument("--wav", type=Path, help="speech to send; else espeak-ng speaks")
    parser.add_argument("--keep", type=Path, help="folder for the daemon's configuration and log")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        well = asyncio.run(_bench(options, folder))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()

"""How fast are windows answered when N calls come in at real-time pace?

    python bench/live_calls.py --calls 10 --seconds 30

Starts the daemon as a process with the shipped model, streams N calls of a voice made by espeak-ng, or of
``--wav``, over /ws/ingest, half of them 8 kHz µ-law and half 16 kHz PCM in 20 ms packets, and reads
/ws/events over a second connection. ``latency`` is the daemon's own: from the arrival of a window's last
packet to its score being published. ``end to end`` is this process's: from the moment the packet that
completes the window was sent to the moment the event was received, sender and reader included.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr
from websockets.asyncio.client import connect

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding

PACKET_S = 0.02


async def talk(url: str, call_id: str, rate: int, data: bytes, sent: dict[tuple[str, int], float]) -> None:
    """Stream one call at real-time pace; note when each 20 ms packet was sent."""
    encoding = "mulaw" if rate == 8000 else "pcm_s16le"
    width = 1 if rate == 8000 else 2
    size = round(rate * PACKET_S) * width
    async with connect(url) as socket:
        hello = {"sample_rate": rate, "encoding": encoding, "channels": 1, "call_id": call_id}
        await socket.send(json.dumps(hello))
        await socket.recv()
        loop = asyncio.get_running_loop()
        started = loop.time()
        for packet in range(len(data) // size):
            await socket.send(data[packet * size : (packet + 1) * size])
            sent[call_id, packet] = time.monotonic()
            await asyncio.sleep(started + (packet + 1) * PACKET_S - loop.time())
        await socket.send('{"type":"end"}')
        await socket.recv()


async def listen(url: str, calls: int, sent: dict[tuple[str, int], float]) -> dict[str, list[float]]:
    """Collect latencies, in milliseconds, until all calls ended."""
    found: dict[str, list[float]] = {"latency": [], "end to end": [], "skipped": [], "no speech": []}
    async with connect(url, max_size=2**24) as socket:
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "call.ended":
                calls -= 1
                if calls == 0:
                    return found
            if event["type"] != "window.scored":
                continue
            if event["skipped"]:
                found["no speech" if event["skipped"] == "no_speech" else "skipped"].append(1)
            last_packet = round(event["end_s"] / PACKET_S) - 1
            if event["latency_ms"] is not None and (event["call_id"], last_packet) in sent:
                found["latency"].append(event["latency_ms"])
                found["end to end"].append(1000 * (time.monotonic() - sent[event["call_id"], last_packet]))
    return found


def speech(path: Path | None, seconds: float) -> np.ndarray:
    """``[seconds * 16000]`` float32 of the file, or of a voice made by espeak-ng."""
    if path is None:
        path = Path(tempfile.gettempdir()) / "fac-bench.wav"
        text = "Good morning, I would like to ask about my last invoice, please. " * 10
        subprocess.run(["espeak-ng", "-w", str(path), text], check=True)  # noqa: S603, S607 - a fixed program
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.resize(soxr.resample(samples[:, 0], rate, 16000), round(seconds * 16000)).astype(np.float32)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its threads used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def measure(address: str, pid: int, calls: int, samples: np.ndarray) -> None:
    """Run the calls and print the table."""
    url = address.replace("http", "ws", 1)
    sent: dict[tuple[str, int], float] = {}
    pcm = {
        16000: encode(samples, Encoding.PCM_S16LE),
        8000: encode(soxr.resample(samples, 16000, 8000), Encoding.MULAW),
    }
    listening = asyncio.create_task(listen(url + "ws/events", calls, sent))
    await asyncio.sleep(0.5)
    before, started = cpu_s(pid), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            rate = (8000, 16000)[number % 2]
            group.create_task(talk(url + "ws/ingest", f"bench-{number}", rate, pcm[rate], sent))
            await asyncio.sleep(0.5 / calls)
    found = await listening
    cores = (cpu_s(pid) - before) / (time.monotonic() - started)
    print(
        f"{calls} calls, {len(found['latency'])} windows, {len(found['no speech'])} without speech, "
        f"{len(found['skipped'])} skipped; the daemon used {cores:.2f} cores"
    )
    print(f"{'milliseconds':14}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}")
    for name in ("latency", "end to end"):
        p50, p95, p99 = np.percentile(found[name], [50, 95, 99])
        print(f"{name:14}{p50:8.1f}{p95:8.1f}{p99:8.1f}{max(found[name]):8.1f}")


def main() -> None:
    """Start a daemon, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--wav", type=Path, help="speech to send; else espeak-ng speaks")
    options = parser.parse_args()
    samples = speech(options.wav, options.seconds)
    command = [sys.executable, "-m", "fac_stream", "run", "--no-mic", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as daemon:
        assert daemon.stdout is not None
        address = next(found[0] for line in daemon.stdout if (found := re.search(r"https?://\S+/", line)))
        try:
            asyncio.run(measure(address, daemon.pid, options.calls, samples))
        finally:
            daemon.terminate()


if __name__ == "__main__":
    main()

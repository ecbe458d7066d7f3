"""What ``fac doctor`` looks at, one function each."""

import asyncio
import http.client
import importlib.util
import json
import platform
import socket
import time
from contextlib import aclosing
from pathlib import Path

import av
import numpy as np

from fac_stream import __version__
from fac_stream.audio.codecs import decode
from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.level import rms_dbfs
from fac_stream.commands.check import Check
from fac_stream.config import Config, Model, Server
from fac_stream.config import MicrophoneSource as MicrophoneOptions
from fac_stream.errors import ScorerError, SourceError
from fac_stream.scoring.backend import open_bundle, scorer_of
from fac_stream.sources.microphone import MicrophoneSource

RECORD_S = 2.0
QUIET_DBFS = -60.0
TRIALS = 5
DECODERS = ("pcm_mulaw", "pcm_alaw", "gsm_ms", "mp3", "aac", "flac", "vorbis", "opus", "amrnb")


def python() -> Check:
    """The interpreter and this version."""
    return Check("python", "ok", f"Python {platform.python_version()}, fac-stream {__version__}")


def configuration(path: Path | None, fault: str) -> Check:
    """Whether the configuration was taken."""
    if fault:
        return Check("config", "fail", fault, "correct the file; the checks below use the defaults")
    return Check("config", "ok", f"{path}" if path else "the defaults")


def model(options: Model) -> Check:
    """Whether the bundle loads and scores, how fast, and how often it errs by its own account."""
    try:
        bundle = open_bundle(options)
        scorer = scorer_of(bundle, options)
        window = np.random.default_rng(0).normal(0, 0.1, (1, 2 * SAMPLE_RATE)).astype(np.float32)
        spent_ms = []
        for _ in range(TRIALS):
            started = time.perf_counter()
            scorer.score(window)
            spent_ms.append((time.perf_counter() - started) * 1000)
    except ScorerError as error:
        return Check("model", "fail", str(error), "see model.bundle and model.backend in the configuration")
    found = f"{scorer.model} on {scorer.device}, {min(spent_ms):.1f} ms a window of 2 s"
    if eer := bundle.eer:
        found += f"; equal error rate {eer['value']:.1%} ({eer['low']:.1%} to {eer['high']:.1%})"
    if min(spent_ms) > 250:
        return Check("model", "warn", found, "this machine keeps up with one or two calls only")
    return Check("model", "ok", found)


def gpu(options: Model) -> Check:
    """Whether a GPU can be used."""
    if importlib.util.find_spec("torch") is None:
        remedy = "pip install 'fac-stream[gpu]'" if options.device == "cuda" else ""
        return Check("gpu", "fail" if remedy else "ok", "not used: torch is not installed", remedy)
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        return Check("gpu", "ok", f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    remedy = "set model.device: auto, or install a CUDA build of torch" if options.device == "cuda" else ""
    return Check("gpu", "fail" if remedy else "ok", f"none; torch {torch.__version__} sees no CUDA", remedy)


def port(server: Server) -> Check:
    """Whether the daemon could listen."""
    where = f"{server.host}:{server.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if _is_daemon(server):
            return Check("port", "warn", f"a FAC daemon listens on {where} already", "stop it, or use --port")
        return Check("port", "fail", f"cannot listen on {where}: {error.strerror}", "use another with --port")
    return Check("port", "ok", f"{where} is free")


def _is_daemon(server: Server) -> bool:
    if server.tls:
        return False
    connection = http.client.HTTPConnection(server.host, server.port, timeout=2)
    try:
        connection.request("GET", "/api/health")
        return "model" in json.loads(connection.getresponse().read(65536))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def decoders() -> Check:
    """Whether recordings of the usual kinds can be read."""
    missing = [name for name in DECODERS if not _has_decoder(name)]
    if missing:
        return Check("decoders", "warn", f"missing: {', '.join(missing)}", "pip install --upgrade av")
    return Check("decoders", "ok", ", ".join(DECODERS))


def _has_decoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "r")
    except ValueError:
        return False
    return True


def microphone(settings: Config) -> Check:
    """Whether the configured microphone, or else the default one, hears something."""
    configured = [source for source in settings.sources if isinstance(source, MicrophoneOptions)]
    options = configured[0] if configured else MicrophoneOptions(type="microphone")
    try:
        source = MicrophoneSource(options)
        level_dbfs = rms_dbfs(asyncio.run(_record(source)))
    except SourceError as error:
        return Check("microphone", "fail" if configured else "warn", str(error), "see: fac devices")
    found = f"{source.device.name!r}, {source.format.sample_rate} Hz: "
    if level_dbfs is None:
        return Check("microphone", "warn", found + "digital silence", "is it muted, or may fac not record?")
    found += f"{level_dbfs:.0f} dBFS"
    if level_dbfs < QUIET_DBFS:
        return Check("microphone", "warn", found, "very quiet: turn its gain up, or speak while it records")
    return Check("microphone", "ok", found)


async def _record(source: MicrophoneSource) -> Samples:
    data = b""
    wanted = round(RECORD_S * source.format.sample_rate) * source.format.frame_width
    async with aclosing(source.frames()) as frames:
        async for frame in frames:
            data += frame.data
            if len(data) >= wanted:
                break
    return decode(data, source.format.encoding, 1)

"""Scoring recordings that are sent whole; the paths and the first three fields are the predecessor's."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from fac_stream.calls.recording import RecordingScore, score_recording_async
from fac_stream.errors import AudioError, DecodeError, NoAudioError
from fac_stream.server.clip import parse
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services

UPLOADS_AT_ONCE = 2
REALTIME_AT_ONCE = 8
UPLOAD_DEADLINE_S = 600.0
REALTIME_DEADLINE_S = 30.0
SCORING_DEADLINE_S = 1800.0
DISCONNECT_POLL_S = 0.5
MAX_REALTIME_BYTES = 8 * 1024 * 1024
"""Of JSON: about three minutes of 16-bit sound at 16 kHz, for clips that are meant to be 2 s."""
MAX_PARTS = 8
IN_MEMORY_BYTES = 4 * 1024 * 1024
"""Of an upload; a longer one goes to an unnamed temporary file, which is gone when it is closed."""


class Predictions:
    """The two endpoints, and how many requests each serves at once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._realtime = asyncio.Semaphore(REALTIME_AT_ONCE)

    async def upload(self, request: web.Request) -> web.Response:
        """POST /api/predict/upload: multipart, the sound file in the field ``file``."""
        async with self._place(self._uploads):
            with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
                async with _deadline(UPLOAD_DEADLINE_S):
                    await self._receive(request, cast("BinaryIO", file))
                if not file.tell():
                    raise ApiError(422, "empty", "the file is empty")
                file.seek(0)
                return await self._score(request, cast("BinaryIO", file))

    async def realtime(self, request: web.Request) -> web.Response:
        """POST /api/predict/realtime: JSON with a short clip as base64."""
        async with self._place(self._realtime):
            if (request.content_length or 0) > MAX_REALTIME_BYTES:
                raise _too_large("the body", MAX_REALTIME_BYTES)
            async with _deadline(REALTIME_DEADLINE_S):
                body = await request.read()
            clip = parse(body)
            return await self._score(request, BytesIO(clip.data), clip.hint)

    @asynccontextmanager
    async def _place(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        if self._services.scorer is None:
            raise ApiError(503, "model_not_loaded", "no model is loaded", retry_after_s=60)
        if places.locked():
            raise ApiError(503, "busy", "too many recordings are being scored: try again", retry_after_s=5)
        async with places:
            yield

    async def _receive(self, request: web.Request, file: BinaryIO) -> None:
        limit = self._services.config.server.max_upload_mb * 1024 * 1024
        if (request.content_length or 0) > limit:
            raise _too_large("the upload", limit)
        if request.content_type != "multipart/form-data":
            raise ApiError(415, "not_multipart", "send multipart/form-data with the sound in the field file")
        try:
            part = await _file_part(request)
            while chunk := await part.read_chunk(256 * 1024):
                file.write(chunk)
                if file.tell() > limit:
                    raise _too_large("the upload", limit)
        except (ValueError, RuntimeError, AssertionError, HttpProcessingError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ApiError(400, "bad_multipart", f"the multipart body is broken: {reason}") from None

    async def _score(self, request: web.Request, file: BinaryIO, hint: str | None = None) -> web.Response:
        try:
            async with asyncio.timeout(SCORING_DEADLINE_S), _while_connected(request):
                score = await score_recording_async(file, self._services.batcher, self._services.config)
                text = await asyncio.to_thread(_json, score)
        except TimeoutError:
            message = f"not scored within {SCORING_DEADLINE_S:g} s: try again, or cut it into pieces"
            raise ApiError(503, "scoring_too_slow", message, retry_after_s=60) from None
        except NoAudioError as error:
            raise ApiError(422, "no_audio", hint or str(error)) from None
        except DecodeError as error:
            raise ApiError(422 if hint else 415, "undecodable", hint or str(error)) from None
        except AudioError as error:
            raise ApiError(422, "unusable_audio", str(error)) from None
        return web.Response(text=text, content_type="application/json")


def _json(score: RecordingScore) -> str:
    # ``dumps`` would hold the interpreter's lock from the first window to the last.
    return "".join(json.JSONEncoder(allow_nan=False).iterencode(score.to_dict()))


async def _file_part(request: web.Request) -> BodyPartReader:
    reader = await request.multipart()
    for _ in range(MAX_PARTS):
        part = await reader.next()
        if isinstance(part, BodyPartReader) and part.name == "file":
            return part
        if part is None:
            break
    raise ApiError(422, "no_file", "the form has no field named file")


def _too_large(what: str, limit: int) -> ApiError:
    return ApiError(413, "too_large", f"{what} is larger than {limit // (1024 * 1024)} MiB")


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ApiError(408, "too_slow", f"the body did not arrive within {seconds:g} s") from None


@asynccontextmanager
async def _while_connected(request: web.Request) -> AsyncIterator[None]:
    """Cancel what runs inside once the client is gone, so that it does not hold its place for nobody."""
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(None)
    poll: asyncio.TimerHandle | None = None

    def check() -> None:
        nonlocal poll
        if request.transport is None or request.transport.is_closing():
            scope.reschedule(loop.time())
        else:
            poll = loop.call_later(DISCONNECT_POLL_S, check)

    try:
        async with scope:
            check()
            yield
    except TimeoutError:
        if scope.expired():
            raise ConnectionResetError("the client is gone") from None
        raise
    finally:
        if poll is not None:
            poll.cancel()

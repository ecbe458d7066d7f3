"""What mattered in the windows that drove an alert, from its evidence: for the picture of the dashboard."""

import asyncio
import base64
import time
from typing import Any

import numpy as np
from aiohttp import web

from fac_stream.audio.frames import Samples, Window
from fac_stream.calls.explanation import Span, strongest
from fac_stream.errors import ConfigError, StorageError
from fac_stream.events import Explanation
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.reading import read_evidence
from fac_stream.evidence.record import Excerpt
from fac_stream.scoring.saliency import (
    BANDS,
    BATCH,
    COLUMNS,
    FRAME,
    Occlusion,
    Saliency,
    drops,
    edges_hz,
    picture,
)
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services

DEADLINE_S = 60.0
"""For 193 windows that let every live one go first."""
MAX_TEXT = 128


class SaliencyPictures:
    """The handler; one picture is made at a time: each takes the scoring of a minute and a half of a call."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._place = asyncio.Semaphore(1)
        self._reading: asyncio.Future[Any] | None = None

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [web.get("/api/alerts/{alert_id}/saliency", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/alerts/{id}/saliency: of the strongest window that is kept; ``?window=1`` of the next."""
        alert_id = request.match_info["alert_id"][:MAX_TEXT]
        number = request.query.get("window", "0")
        if not (len(number) == 1 and number.isascii() and number.isdigit()):
            raise ApiError(400, "bad_query", "window must be a number from 0 to 9")
        try:
            record = await self._services.desk.record(alert_id)
        except StorageError as error:
            raise ApiError(503, "storage", f"the alerts cannot be read: {error}", retry_after_s=10) from None
        if record is None:
            raise ApiError(404, "no_such_alert", "there is no alert with this id: see GET /api/alerts")
        if self._place.locked() or (self._reading and not self._reading.done()):
            raise ApiError(503, "busy", "another picture is being made: try again", retry_after_s=5)
        async with self._place:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    excerpt = await self._excerpt(alert_id)
                    spans = _spans(excerpt, record.raised.explanation)
                    if int(number) >= len(spans):
                        message = f"the evidence holds {len(spans)} windows to look into"
                        raise ApiError(404, "no_such_window", message)
                    span = spans[int(number)]
                    samples = _samples(excerpt, span)
                    saliency = await self._look_into(samples, excerpt.record.leg)
            except TimeoutError:
                message = f"not made within {DEADLINE_S:g} s, as live calls go first: try again"
                raise ApiError(503, "scoring_too_slow", message, retry_after_s=60) from None
        return web.json_response(_answer(samples, saliency, span, spans))

    async def _excerpt(self, alert_id: str) -> Excerpt:
        settings = self._services.config
        if settings.evidence.purpose is None:
            raise ApiError(404, "no_evidence", "no audio is kept: evidence.purpose is not set")
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, read_evidence, settings, Folder(), alert_id, "explain")
        self._reading = reading
        try:
            # A disk that hangs keeps its thread: the next picture waits for that, too.
            _, excerpt = await asyncio.shield(reading)
        except (ConfigError, StorageError) as error:
            raise ApiError(404, "no_evidence", str(error)) from None
        scorer = self._services.scorer
        if scorer is None:
            raise ApiError(503, "model_not_loaded", "no model is loaded", retry_after_s=60)
        if excerpt.record.bundle != scorer.model:
            message = f"{excerpt.record.bundle} raised the alert, and {scorer.model} scores now"
            raise ApiError(409, "other_model", message)
        return excerpt

    async def _look_into(self, samples: Samples, leg: str) -> Saliency:
        """Through the batcher, behind every live window: the scorer belongs to its thread."""
        occlusion = await asyncio.to_thread(Occlusion, samples)
        scores = await self._scores(samples[None], leg)
        for first in range(0, BANDS * COLUMNS, BATCH):
            scores += await self._scores(await asyncio.to_thread(occlusion.waves, first, BATCH), leg)
        return drops(np.array(scores))

    async def _scores(self, waves: Samples, leg: str) -> list[float]:
        windows = [Window(leg, index, 0, wave, time.monotonic()) for index, wave in enumerate(waves)]
        verdicts = await self._services.batcher.score(windows, live=False)
        return [np.nan if verdict.score is None else verdict.score for verdict in verdicts]


def _spans(excerpt: Excerpt, explanation: Explanation | None) -> list[Span]:
    windows = excerpt.record.windows
    held = {(window.start_s, window.end_s): window.score for window in windows if window.score is not None}
    return strongest(explanation, held)


def _samples(excerpt: Excerpt, span: Span) -> Samples:
    return next(
        excerpt.window(window) for window in excerpt.record.windows if (window.start_s, window.end_s) == span
    )


def _answer(samples: Samples, saliency: Saliency, span: Span, spans: list[Span]) -> dict[str, object]:
    shown = picture(samples)
    return {
        "start_s": span[0],
        "end_s": span[1],
        "llr": _number(saliency.llr),
        "drops": [[_number(drop) for drop in row] for row in saliency.drops],
        "edges_hz": [round(float(edge), 1) for edge in edges_hz()],
        "spectrum": {
            "bins": FRAME // 2 + 1,
            "frames": shown.shape[1],
            "base64": base64.b64encode(shown.tobytes()).decode(),
        },
        "windows": spans,
    }


def _number(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None

"""The history over HTTP: searched page by page, shown call by call, deleted by id."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from aiohttp import web

from fac_stream.errors import ConfigError, ConflictError, StorageError
from fac_stream.events import CallDeleted
from fac_stream.history.recorder import Recorder
from fac_stream.history.searches import MAX_PAGE, STATES, Search, details, find, time_of
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services

USUAL_PAGE = 50
MAX_CHARACTERS = 200
"""Of a number that is searched."""
KNOWN = {"since", "until", "state", "number", "limit", "before"}

T = TypeVar("T")


class HistoryCalls:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.get("/api/history", self.search),
            web.get("/api/history/{call_id}", self.show),
            web.delete("/api/history/{call_id}", self.delete),
        ]

    async def search(self, request: web.Request) -> web.Response:
        """GET /api/history: newest first; ``?since&until&state&number&limit&before``."""
        recorder = self._recorder()
        search, limit = _search(request), _number(request, "limit", USUAL_PAGE, MAX_PAGE)
        calls = await _asked(recorder.look(partial(find, search, recorder.hashes, limit)))
        following = calls[-1]["id"] if len(calls) == limit else None
        return web.json_response({"calls": calls, "before": following})

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/history/{id}: the calls that bore this id, newest first, with decisions and timelines."""
        most = self._services.config.history.max_points
        recorder = self._recorder()
        calls = await _asked(recorder.look(partial(details, request.match_info["call_id"], most)))
        if not calls:
            raise ApiError(404, "no_such_call", "the history has no call with this id")
        return web.json_response({"calls": calls})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /api/history/{id}: all that is kept of the calls of this id, alerts and evidence too."""
        call_id, deleted = request.match_info["call_id"], 0
        by = f"API {request.remote or ''}".strip()[:64]
        if self._services.calls.is_active(call_id):
            raise ApiError(409, "call_is_active", "the call is going on: delete it when it has ended")
        if self._services.recorder:
            deleted = await _asked(self._services.recorder.delete(call_id, by))
        else:
            self._services.bus.publish(CallDeleted(call_id=call_id, by=by))
        return web.json_response({"call_id": call_id, "deleted": deleted})

    def _recorder(self) -> Recorder:
        if self._services.recorder is None:
            raise ApiError(404, "no_history", "history.database is null: no history is written")
        return self._services.recorder


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ConflictError as error:
        raise ApiError(409, "call_is_active", str(error)) from None
    except StorageError as error:
        raise ApiError(503, "storage", str(error), retry_after_s=10) from None


def _search(request: web.Request) -> Search:
    query, now = request.query, datetime.now(UTC)
    if unknown := set(query) - KNOWN:
        raise ApiError(400, "bad_query", f"unknown in the query: {', '.join(sorted(unknown))}"[:200])
    state, number = query.get("state"), query.get("number")
    if state is not None and state not in STATES:
        raise ApiError(400, "bad_query", f"state must be one of {', '.join(STATES)}")
    if number is not None and len(number) > MAX_CHARACTERS:
        raise ApiError(400, "bad_query", f"number has at most {MAX_CHARACTERS} characters")
    try:
        since, until = (time_of(query[name], now) if name in query else None for name in ("since", "until"))
    except ConfigError as error:
        raise ApiError(400, "bad_query", str(error)) from None
    before = _number(request, "before", 0, 2**53) if "before" in query else None
    return Search(since, until, state, number, before)


def _number(request: web.Request, name: str, usual: int, most: int) -> int:
    text = request.query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and 1 <= int(text) <= most):
        raise ApiError(400, "bad_query", f"{name} must be a number from 1 to {most}")
    return int(text)

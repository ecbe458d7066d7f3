"""``/api/alerts``: what was raised, by this daemon and those before it, and what people said of it."""

from collections.abc import Sequence
from typing import get_args

from aiohttp import web
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from fac_stream.alerts.desk import Desk
from fac_stream.alerts.records import AlertRecord, State, Wanted
from fac_stream.errors import StorageError
from fac_stream.events import AlertMarked, Category, Mark, MarkedBy, MarkNote
from fac_stream.server.bodies import small
from fac_stream.server.failure import ApiError
from fac_stream.server.services import SERVICES

MAX_ALERTS = 500
MAX_BODY_BYTES = 8 * 1024
MAX_TEXT = 128
"""Characters of an id in a query."""
KNOWN = {"limit", "before", "state", "category", "call_id"}
_RECORDS: TypeAdapter[Sequence[AlertRecord]] = TypeAdapter(Sequence[AlertRecord])


class MarkBody(BaseModel):
    """What ``POST /api/alerts/{id}/marks`` takes."""

    model_config = ConfigDict(extra="forbid")

    mark: Mark
    by: MarkedBy
    note: MarkNote = ""


async def alerts(request: web.Request) -> web.Response:
    """GET /api/alerts: the latest first; ``?limit=50&before=ID&state=&category=&call_id=``."""
    wanted = _wanted(request)
    try:
        records = await _desk(request).records(wanted)
    except StorageError as error:
        raise _unreadable(error) from None
    return web.Response(
        body=b'{"alerts":' + _RECORDS.dump_json(records) + b"}", content_type="application/json"
    )


async def alert(request: web.Request) -> web.Response:
    """GET /api/alerts/{id}: one alert with its marks."""
    try:
        record = await _desk(request).record(request.match_info["alert_id"][:MAX_TEXT])
    except StorageError as error:
        raise _unreadable(error) from None
    return _answer(record)


async def mark(request: web.Request) -> web.Response:
    """POST /api/alerts/{id}/marks: ``{"mark", "by", "note"}``; on disk once it is answered."""
    async with small(request, MAX_BODY_BYTES) as bounded:
        text = await bounded.read()
    try:
        body = MarkBody.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])[:40] or "the body"
        raise ApiError(400, "bad_mark", f"{where}: {fault['msg']}") from None
    alert_id = request.match_info["alert_id"]
    if len(alert_id) > 64:
        return _answer(None)
    said = AlertMarked(alert_id=alert_id, mark=body.mark, by=body.by, note=body.note)
    try:
        record = await _desk(request).mark(said)
    except StorageError as error:
        raise ApiError(503, "not_saved", f"the mark was not saved: {error}", retry_after_s=10) from None
    return _answer(record)


def _desk(request: web.Request) -> Desk:
    return request.app[SERVICES].desk


def _answer(record: AlertRecord | None) -> web.Response:
    if record is None:
        raise ApiError(404, "no_such_alert", "there is no alert with this id: see GET /api/alerts")
    return web.Response(text=record.model_dump_json(), content_type="application/json")


def _unreadable(error: StorageError) -> ApiError:
    return ApiError(503, "storage", f"the alerts cannot be read: {error}", retry_after_s=10)


def _wanted(request: web.Request) -> Wanted:
    query = request.query
    if unknown := set(query) - KNOWN:
        raise ApiError(400, "bad_query", f"unknown in the query: {', '.join(sorted(unknown))}"[:200])
    limit = query.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_ALERTS):
        raise ApiError(400, "bad_query", f"limit must be a number from 1 to {MAX_ALERTS}")
    for name, known in (("state", get_args(State)), ("category", get_args(Category))):
        if name in query and query[name] not in known:
            raise ApiError(400, "bad_query", f"{name} is one of {', '.join(known)}")
    for name in ("before", "call_id"):
        if len(query.get(name, "")) > MAX_TEXT:
            raise ApiError(400, "bad_query", f"{name} has at most {MAX_TEXT} characters")
    return Wanted(
        limit=int(limit),
        before=query.get("before"),
        state=query.get("state"),  # type: ignore[arg-type]  # checked above
        category=query.get("category"),  # type: ignore[arg-type]  # checked above
        call_id=query.get("call_id"),
    )

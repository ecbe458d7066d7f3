"""One line in the log for each request: no query, no headers, no end of a path that is a token."""

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

log = structlog.get_logger(__name__)

LOGGED = ("/api/", "/ws/")


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log what was asked for and answered; the dashboard's files and good health only for debugging."""
    started = time.monotonic()
    response = await handler(request)
    path = _path(request)
    told = response.status >= 400 or (path.startswith(LOGGED) and path != "/api/health")
    (log.info if told else log.debug)(
        "request",
        method=request.method,
        path=path,
        status=response.status,
        duration_ms=round((time.monotonic() - started) * 1000, 1),
        remote=request.remote,
    )
    return response


def _path(request: web.Request) -> str:
    route = request.match_info.route.resource
    if "token" in request.match_info and route is not None:
        return route.canonical
    return request.rel_url.raw_path[:200]

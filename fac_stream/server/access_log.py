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
    path = shown(request)
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


def shown(request: web.Request) -> str:
    """The path as a log may show it: of ``/ws/twilio/TOKEN``, also where that is no route, not the token."""
    path = request.rel_url.raw_path[:200]
    first, *parts = path.split("/")[1:]
    return f"/ws/{parts[0]}/{{token}}" if first == "ws" and len(parts) > 1 else path

"""What can be asked of the daemon; all but the calls stands as its predecessor answered it."""

from collections.abc import Sequence

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from fac_stream.events import CallSummary
from fac_stream.metrics import CONTENT_TYPE
from fac_stream.server.auth import GUARD
from fac_stream.server.failure import ApiError
from fac_stream.server.services import SERVICES

DEFAULT_CALLS = 200
MAX_CALLS = 1000
_SUMMARIES: TypeAdapter[Sequence[CallSummary]] = TypeAdapter(Sequence[CallSummary])


async def health(request: web.Request) -> web.Response:
    """GET /api/health: whether the daemon works; 503 where it does not serve at all.

    Open to everybody, for those who watch over it; where a token is set, the details are not.
    """
    report = request.app[SERVICES].health()
    status = 200 if report["status"] in ("ok", "degraded") else 503
    if not request.app[GUARD].trusts(request):
        report = {"status": report["status"]}
    return web.json_response(report, status=status)


async def model_status(request: web.Request) -> web.Response:
    """GET /api/model/status: which model scores, on what, and how good it is; 503 where there is none."""
    services = request.app[SERVICES]
    scorer, bundle = services.scorer, services.bundle
    if scorer is None or bundle is None:
        fields = ("device", "accuracy", "eer", "version", "model")
        return web.json_response({"loaded": False, **dict.fromkeys(fields), "plots": []}, status=503)
    body = {
        "loaded": True,
        "device": scorer.device,
        "accuracy": bundle.manifest.metrics.get("accuracy"),
        "eer": bundle.eer,
        "version": bundle.manifest.version,
        "model": scorer.model,
        "plots": bundle.plots,
    }
    return web.json_response(body)


async def graph(request: web.Request) -> web.Response:
    """GET /api/graph/{name}: a plot of the model's evaluation, as PNG."""
    bundle = request.app[SERVICES].bundle
    name = request.match_info["name"].removesuffix(".png")
    plots = bundle.plots if bundle else []
    if bundle is None or name not in plots:
        raise ApiError(404, "no_such_graph", f"the model has these graphs: {', '.join(plots) or 'none'}")
    return web.Response(body=bundle.read(f"plots/{name}.png"), content_type="image/png")


async def calls(request: web.Request) -> web.Response:
    """GET /api/calls: calls that are going on, then those that ended, newest first; ``?limit=200``."""
    text = request.query.get("limit", str(DEFAULT_CALLS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_CALLS):
        raise ApiError(400, "bad_query", f"limit must be a number from 1 to {MAX_CALLS}")
    summaries = request.app[SERVICES].calls.summaries()[: int(text)]
    body = b'{"calls":' + _SUMMARIES.dump_json(summaries) + b"}"
    return web.Response(body=body, content_type="application/json")


async def call(request: web.Request) -> web.Response:
    """GET /api/calls/{id}: one call with the timeline of each leg."""
    detail: BaseModel | None = request.app[SERVICES].calls.detail(request.match_info["call_id"])
    if detail is None:
        raise ApiError(404, "no_such_call", "no call with this id is going on or remembered")
    return web.Response(text=detail.model_dump_json(), content_type="application/json")


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: for Prometheus."""
    body = request.app[SERVICES].metrics.exposition()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

"""The web application: every address of the daemon, and the port it listens on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from fac_stream.config import Config, Server
from fac_stream.errors import FacError
from fac_stream.server import alerts, api
from fac_stream.server.access_log import access_log
from fac_stream.server.assets import PATTERN, Assets, dashboard
from fac_stream.server.asterisk import AsteriskPlatform
from fac_stream.server.asterisk_client import AsteriskCalls
from fac_stream.server.audiohook import AudioHookPlatform
from fac_stream.server.auth import GUARD, Guard
from fac_stream.server.failure import json_errors
from fac_stream.server.freeswitch import FreeSwitchPlatform
from fac_stream.server.headers import add_security_headers
from fac_stream.server.history import HistoryCalls
from fac_stream.server.ingest import IngestPlatform
from fac_stream.server.jambonz import JambonzPlatform
from fac_stream.server.live import Live
from fac_stream.server.predict import MAX_REALTIME_BYTES, Predictions
from fac_stream.server.rtp import RtpCalls
from fac_stream.server.saliency import SaliencyPictures
from fac_stream.server.services import SERVICES, Services
from fac_stream.server.telephony import Platform, Telephony
from fac_stream.server.tls import server_context
from fac_stream.server.twilio import TwilioPlatform
from fac_stream.server.vonage import VonagePlatform
from fac_stream.server.whip import Whip

KEEP_ALIVE_S = 75.0
"""An idle connection, also one that never sends a whole request, is closed after this time."""
LINGER_S = 2.0
"""How long the rest of a refused body is read, so that its sender gets to read the refusal."""
STOP_TIMEOUT_S = 10.0


def build(services: Services) -> web.Application:
    """The application; its shutdown ends calls and then subscribers.

    Raises:
        FacError: the dashboard's files are missing.
    """
    telephony = [Telephony(services, platform) for platform in platforms(services.config)]
    guard = Guard(services.config.server, [path for platform in telephony for path in platform.proving])
    app = web.Application(
        middlewares=[access_log, json_errors, guard.check], client_max_size=MAX_REALTIME_BYTES
    )
    app[SERVICES], app[GUARD] = services, guard
    live, predictions, whip = Live(services), Predictions(services), Whip(services)
    app.add_routes([route for platform in telephony for route in platform.routes()])
    asterisk = AsteriskCalls(services)
    rtp = RtpCalls(services.rtp, services.intake)
    app.add_routes([*whip.routes(), *asterisk.routes(), *rtp.routes()])
    app.add_routes([*HistoryCalls(services).routes(), *SaliencyPictures(services).routes()])
    app.add_routes(
        [
            web.get("/ws/events", live.handle),
            web.get("/api/health", api.health),
            web.get("/api/model/status", api.model_status),
            web.get("/api/graph/{name}", api.graph),
            web.get("/api/calls", api.calls),
            web.get("/api/calls/{call_id}", api.call),
            web.get("/api/alerts", alerts.alerts),
            web.get("/api/alerts/{alert_id}", alerts.alert),
            web.post("/api/alerts/{alert_id}/marks", alerts.mark),
            web.post("/api/predict/upload", predictions.upload),
            web.post("/api/predict/realtime", predictions.realtime),
            web.get("/metrics", api.metrics),
            web.get(PATTERN, Assets(dashboard()).handle),
        ]
    )

    async def stop(_app: web.Application) -> None:
        await services.intake.stop()
        for platform in telephony:
            await platform.stop()
        await asterisk.stop()
        await live.stop()

    app.on_shutdown.append(stop)
    app.cleanup_ctx.append(whip.run)
    app.on_response_prepare.append(add_security_headers)
    app.on_response_prepare.append(guard.add_cors)
    return app


def platforms(config: Config) -> list[Platform]:
    """Every platform that may bring calls, see ``docs/connect``."""
    settings = config.platforms
    return [
        IngestPlatform(),
        TwilioPlatform(settings.twilio),
        VonagePlatform(settings.vonage),
        JambonzPlatform(),
        AsteriskPlatform(config),
        FreeSwitchPlatform(config),
        AudioHookPlatform(settings.audiohook),
    ]


@asynccontextmanager
async def listen(app: web.Application, server: Server) -> AsyncIterator[str]:
    """Serve on the configured port while the block runs; gives the address, with the real port for port 0.

    Raises:
        ConfigError: certificate or key cannot be used.
        FacError: the port cannot be listened on.
    """
    context = server_context(server.tls)
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_S,
        lingering_time=LINGER_S,
        shutdown_timeout=STOP_TIMEOUT_S,
    )
    await runner.setup()
    site = web.TCPSite(runner, server.host, server.port, ssl_context=context)
    try:
        try:
            await site.start()
        except OSError as error:
            raise FacError(
                f"cannot listen on {server.host} port {server.port}: {error.strerror}; "
                "is the daemon running already? Otherwise choose another with server.port"
            ) from None
        host, port = runner.addresses[0][:2]
        try:
            yield f"{'https' if context else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
        finally:
            await site.stop()
            # Not left to the clean-up: it stops reading first, and then no close would be answered.
            await app.shutdown()
    finally:
        await runner.cleanup()

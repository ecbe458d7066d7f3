"""What the handlers need of the daemon."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from fac_model.bundle import Bundle
from fac_stream.alerts.desk import Desk
from fac_stream.bus import Bus
from fac_stream.calls.intake import Intake
from fac_stream.calls.registry import Calls
from fac_stream.config import Config
from fac_stream.history.recorder import Recorder
from fac_stream.listeners.rtp import RtpListener
from fac_stream.metrics import Metrics
from fac_stream.scoring.base import Scorer
from fac_stream.scoring.batcher import Batcher


@dataclass(frozen=True, slots=True)
class Services:
    """The daemon's parts, made by the composition root."""

    config: Config
    bus: Bus
    calls: Calls
    intake: Intake
    batcher: Batcher
    scorer: Scorer | None
    """None where no model is loaded: nothing can be scored then."""
    bundle: Bundle | None
    metrics: Metrics
    desk: Desk
    """Where alerts are written down."""
    health: Callable[[], dict[str, Any]]
    """Plain JSON without secrets; ``status`` is ``ok``, ``degraded`` (serves, but not all of it) or else."""
    recorder: Recorder | None = None
    """None where no history is written."""
    rtp: RtpListener | None = None
    """None where the configuration names none."""


SERVICES = web.AppKey("services", Services)

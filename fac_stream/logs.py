"""Log set-up: structlog to standard error, for people or for machines."""

import logging
import sys

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.tracebacks import ExceptionDictTransformer

from fac_stream.config import Logging


def configure(logging_config: Logging) -> None:
    """Set up structlog, and route the standard library's logging through it."""
    as_json = logging_config.format == "json" or (logging_config.format == "auto" and not sys.stderr.isatty())
    level = getattr(logging, logging_config.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    # Tracebacks without local variables: those hold audio, tokens and secrets.
    if as_json:
        shared.append(structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)))
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # aiohttp logs a line for each request; the server has its own access log.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    server = logging.getLogger("aiohttp.server")
    server.filters[:] = [_without_malformed_requests]


def _without_malformed_requests(record: logging.LogRecord) -> bool:
    """Whether a record of aiohttp's server is worth a line.

    It writes a traceback with the request's own bytes for each request that is no HTTP: so anybody could fill
    the log, and a token in the path would stand in it.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

"""Who may come in at a listener's port: from where, how many, and what the log says of those who may not."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from fac_stream.config_systems import Listener
from fac_stream.errors import FacError

log = structlog.get_logger(__name__)

MAX_WAITING = 256
"""Connections that are no calls yet."""
QUIET_S = 10.0
"""From one line about who was turned away to the next: whoever finds an open port tries it."""


class Door:
    """Counts who is inside.

    Args:
        name: the listener's in the configuration.
        settings: its addresses and limits.
    """

    def __init__(self, name: str, settings: Listener) -> None:
        self._name = name
        self._settings = settings
        self._inside: Counter[str] = Counter()
        self._waiting = 0
        self._told_at = -QUIET_S
        self._untold = 0

    def enter(self, host: str) -> bool:
        """Whether a connection of this host may come in; if so, it is inside until it leaves."""
        if not self._settings.allows(host):
            self.turn_away(host, f"see listeners.{self._name}.allow")
        elif self._waiting >= MAX_WAITING:
            self.turn_away(host, "too many connections without a call")
        elif self._inside[host] >= self._settings.max_per_host:
            self.turn_away(host, crowd(self._name, self._inside[host]))
        else:
            self._inside[host] += 1
            return True
        return False

    def leave(self, host: str) -> None:
        """A connection that came in is gone."""
        self._inside -= Counter((host,))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While a connection that came in is no call yet."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def turn_away(self, host: str, why: str) -> bool:
        """Tell the log, but not of everybody; returns whether it was told."""
        now = time.monotonic()
        if now - self._told_at < QUIET_S:
            self._untold += 1
            return False
        log.warning("connection refused", listener=self._name, address=host, detail=why, untold=self._untold)
        self._told_at, self._untold = now, 0
        return True


def crowd(name: str, calls: int) -> str:
    """What a host is told that has as many calls as one may have."""
    return f"this host has {calls} calls, the most that listeners.{name}.max_per_host allows"


def cannot_listen(name: str, host: str, port: int, why: str | None) -> FacError:
    """The error of a listener whose port is taken or not of this machine."""
    return FacError(
        f"cannot listen on {host} port {port}: {why}; is another program using it? "
        f"Otherwise choose another with listeners.{name}.port"
    )


def joined(host: str, port: int) -> str:
    """An address as it is shown."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

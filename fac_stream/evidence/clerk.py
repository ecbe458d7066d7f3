"""Who writes evidence, removes it when its time is over, notes that in the audit log. All of it blocks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog
from pydantic import JsonValue

from fac_model.quality import is_telephone
from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.audio.windows import WINDOW
from fac_stream.config_storage import Evidence
from fac_stream.errors import StorageError
from fac_stream.events import AlertRaised
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.key import read_key
from fac_stream.evidence.record import Backend, Excerpt, Piece, Record, ScoredWindow
from fac_stream.evidence.ring import Heard, Stretch, stretches
from fac_stream.evidence.sealed import Header, key_id, seal
from fac_stream.storage.audit import AuditLog

log = structlog.get_logger(__name__)

AFTER_S = 2.0
"""How much of what follows an alert is kept."""


class Clerk:
    """Works in one thread; only ``owe`` may be called from another.

    Args:
        settings: for what, how long, how much.
        folder: where the files lie.
        audit: where it is noted; None for nowhere.
        backend: what scores.
        version: the version that the bundle gives itself.
    """

    def __init__(
        self, settings: Evidence, folder: Folder, audit: AuditLog | None, backend: Backend, version: str
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._audit = audit
        self._backend = backend
        self._version = version
        self._owed: set[str] = set()

    def check(self) -> None:
        """Find out now whether evidence could be kept.

        Raises:
            ConfigError: the key cannot be used.
            StorageError: the folder cannot be written.
        """
        read_key(self._settings)
        self._folder.probe()

    def keep(self, alert: AlertRaised, heard: Sequence[Heard]) -> None:
        """Write the evidence of an alert.

        Args:
            alert: of a leg of a call.
            heard: the windows of that leg around the alert, in order.

        Raises:
            ConfigError: the key cannot be used.
            StorageError: it was not written, or no audio is there.
        """
        settings, key = self._settings, read_key(self._settings)
        last = round((alert.at_s + AFTER_S) * SAMPLE_RATE)
        found = stretches(heard, last - round(settings.seconds * SAMPLE_RATE), last)
        if not found:
            raise StorageError(f"no window lies within evidence.seconds of {alert.alert_id}")
        now = datetime.now(UTC)
        header = Header(
            alert_id=alert.alert_id,
            call_id=alert.call_id or "",
            bundle=alert.model,
            purpose=settings.purpose or "",
            raised_at=alert.time or now,
            written_at=now,
            keep_until=now + timedelta(days=settings.keep_days),
            key=key_id(key),
        )
        content = seal(header, self._excerpt(alert, header, found).encode(), key)
        self._sweep(settings.max_mb * 1_000_000 - len(content))
        self._folder.write(alert.alert_id, content)
        self._note("evidence.kept", alert=alert.alert_id, until=header.keep_until.isoformat())

    def sweep(self) -> None:
        """Remove what is too old, too much or owed.

        Raises:
            StorageError: something could not be removed.
        """
        self._sweep(self._settings.max_mb * 1_000_000)
        self.settle()

    def owe(self, call_id: str) -> None:
        """All evidence of a call is to go; ``settle`` and every ``sweep`` try until it went."""
        self._owed.add(call_id)

    def settle(self) -> None:
        """Remove what is owed.

        Raises:
            StorageError: something could not be removed.
        """
        for call_id in tuple(self._owed):
            for alert_id in self._folder.remove_call(call_id):
                self._note("evidence.removed", alert=alert_id, why="call deleted")
            self._owed.discard(call_id)

    def _sweep(self, max_bytes: int) -> None:
        for removed in self._folder.sweep(self._settings.keep_days, max_bytes):
            log.info("evidence removed", alert_id=removed.alert_id, why=removed.why)
            self._note("evidence.removed", alert=removed.alert_id, why=removed.why)

    def _excerpt(self, alert: AlertRaised, header: Header, found: Sequence[Stretch]) -> Excerpt:
        return Excerpt(
            Record(
                alert_id=alert.alert_id,
                call_id=header.call_id,
                leg=alert.leg or "",
                rule=alert.rule,
                severity=alert.severity,
                summary=alert.summary,
                at_s=alert.at_s,
                raised_at=header.raised_at,
                bundle=alert.model,
                bundle_version=self._version,
                backend=self._backend,
                pieces=[Piece(start_sample=it.start, samples=len(it.samples)) for it in found],
                windows=[
                    _window(number, window, stretch)
                    for number, stretch in enumerate(found)
                    for window in stretch.windows
                ],
            ),
            [stretch.samples for stretch in found],
        )

    def _note(self, kind: str, **facts: JsonValue) -> None:
        try:
            if self._audit:
                self._audit.add(kind, **facts)
        except StorageError:  # its own writer says so in health
            log.exception("the audit log does not take an entry", kind=kind)


def _window(piece: int, heard: Heard, stretch: Stretch) -> ScoredWindow:
    event = heard.event
    begin = heard.start - stretch.start
    samples = np.resize(stretch.samples[begin : begin + heard.span], WINDOW)
    return ScoredWindow(
        index=event.index,
        piece=piece,
        start_sample=heard.start,
        span=heard.span,
        score=event.score,
        skipped=event.skipped,
        smoothed=event.smoothed,
        decision=event.decision,
        quality=event.quality,
        telephone=bool(is_telephone(samples[None])[0]),
        speech_s=event.speech_s,
        level_dbfs=event.level_dbfs,
        concealed=heard.concealed,
        run=heard.run,
    )

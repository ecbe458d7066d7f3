"""Every Prometheus metric, in a registry of its own. Labels are bounded; no call id is ever one."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from fac_stream import __version__
from fac_stream.events import (
    AlertMarked,
    AlertRaised,
    AlertResolved,
    AnyEvent,
    CallEnded,
    CallStarted,
    WindowScored,
)
from fac_stream.scoring.batcher import BatchStats

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """A guest of the bus and the batcher: they hand over events, it counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._build = Info("fac_build", "Version of the daemon and its model.", registry=r)
        self._calls = Counter("fac_calls", "Calls accepted.", ["source"], registry=r)
        self._ended = Counter("fac_calls_ended", "Calls ended.", ["reason"], registry=r)
        self._refused = Counter("fac_calls_refused", "Calls not accepted.", ["reason"], registry=r)
        self._audio = Counter("fac_audio_received_seconds", "Audio of ended calls.", registry=r)
        self._lost = Counter(
            "fac_audio_lost_seconds", "Audio of ended calls that no window covers.", registry=r
        )
        self._windows = Counter("fac_windows_scored", "Windows that got a score.", registry=r)
        self._skipped = Counter("fac_windows_skipped", "Windows without a score.", ["reason"], registry=r)
        self._latency = Histogram(
            "fac_window_latency_seconds",
            "From the arrival of a live window's last sample to its score being published.",
            buckets=SECONDS,
            registry=r,
        )
        self._gate = Histogram("fac_gate_seconds", "Speech gate, a batch.", buckets=SECONDS, registry=r)
        self._score = Histogram("fac_inference_seconds", "Network, a batch.", buckets=SECONDS, registry=r)
        self._batch = Histogram(
            "fac_batch_windows", "Windows a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=r
        )
        self._alerts = Counter("fac_alerts", "Alert events.", ["state", "category"], registry=r)
        self._marks = Counter("fac_alert_marks", "What people said of alerts.", ["mark"], registry=r)
        self._deliveries = Counter(
            "fac_alert_deliveries", "Attempts to deliver alerts.", ["outcome"], registry=r
        )

    def describe(self, model: str, device: str) -> None:
        """Say what is running."""
        self._build.info({"version": __version__, "model": model, "device": device})

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A value that is read when the metrics are."""
        Gauge(name, documentation, registry=self.registry).set_function(read)

    def on_event(self, event: AnyEvent) -> None:
        """Count an event; a bus listener."""
        match event:
            case CallStarted():
                self._calls.labels(event.source).inc()
            case CallEnded():
                self._ended.labels(event.reason.value).inc()
                self._audio.inc(event.duration_s)
                self._lost.inc(event.lost_s)
            case WindowScored():
                self._on_window(event)
            case AlertRaised():
                self._alerts.labels("raised", event.category).inc()
            case AlertResolved():
                self._alerts.labels("resolved", event.category).inc()
            case AlertMarked():
                self._marks.labels(event.mark).inc()

    def on_batch(self, stats: BatchStats) -> None:
        """Count one batch of the batcher."""
        self._batch.observe(stats.size)
        if not stats.failed:
            self._gate.observe(stats.gate_s)
        if stats.scored:
            self._score.observe(stats.score_s)

    def on_refusal(self, reason: str) -> None:
        """Count a call that was not accepted; ``reason`` is one of a few fixed words."""
        self._refused.labels(reason).inc()

    def on_delivery(self, outcome: str) -> None:
        """Count one attempt to deliver an alert."""
        self._deliveries.labels(outcome).inc()

    def exposition(self) -> bytes:
        """All metrics in the OpenMetrics text format."""
        text: bytes = generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text

    def _on_window(self, event: WindowScored) -> None:
        if event.skipped is None:
            self._windows.inc()
        else:
            self._skipped.labels(event.skipped.value).inc()
        if event.latency_ms is not None:
            self._latency.observe(event.latency_ms / 1000)

"""What monitoring sees, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from trueup.engine.served import ServedRun

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """Counters of one server.

    Args:
        active: How many runs are under way or queued.
        streams: How many event streams are open.
    """

    def __init__(self, active: Callable[[], int], streams: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._runs = Counter("trueup_runs", "Runs that have ended.", ["target", "state"], registry=self._registry)
        self._seconds = Histogram(
            "trueup_run_seconds",
            "From asking for a run to its end.",
            ["target"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._requests = Counter(
            "trueup_requests", "Requests that were answered.", ["method", "status"], registry=self._registry
        )
        Gauge("trueup_runs_active", "Runs that are under way or queued.", registry=self._registry).set_function(active)
        Gauge("trueup_streams", "Event streams that are open.", registry=self._registry).set_function(streams)

    def ended(self, run: ServedRun) -> None:
        """A run has ended, or waits."""
        self._runs.labels(run.target, run.state.value).inc()
        self._seconds.labels(run.target).observe((run.changed_ns - run.created_ns) / 1e9)

    def answered(self, method: str, status: int) -> None:
        """A request was answered."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS") else "other"
        self._requests.labels(known, str(status)).inc()

    @property
    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)

"""Prometheus metrics of one process, and the probe that measures the event loop's lag."""

import asyncio
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from undercroft.kit.clock import Clock

_LATENCY_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_LAG_INTERVAL: Final = 0.1


class Telemetry:
    """Every metric of a process, in a registry of its own so that tests and processes do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "undercroft_requests",
            "Requests served, by route template, method and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "undercroft_request_seconds",
            "Time from a request to the start of its response.",
            ("method", "route"),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.open_requests = Gauge(
            "undercroft_open_requests", "Requests being served now.", registry=self.registry
        )
        self.open_streams = Gauge(
            "undercroft_open_streams", "Event streams being sent now.", registry=self.registry
        )
        self.pool_wait_seconds = Histogram(
            "undercroft_pool_wait_seconds",
            "Time a transaction waited for its connection.",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.loop_lag_seconds = Histogram(
            "undercroft_loop_lag_seconds",
            "How late the event loop ran a timer.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "undercroft_queue_depth",
            "Jobs of all tenants, by kind and state.",
            ("kind", "state"),
            registry=self.registry,
        )
        self.ledger_pending_entries = Gauge(
            "undercroft_ledger_pending_entries",
            "Ledger entries of all tenants that have no number yet.",
            registry=self.registry,
        )
        self.ledger_oldest_pending_seconds = Gauge(
            "undercroft_ledger_oldest_pending_seconds",
            "Age of the oldest of them; 0 when there is none.",
            registry=self.registry,
        )

    def connection_acquired(self, seconds: float) -> None:
        """See :class:`undercroft.kit.database.PoolObserver`."""
        self.pool_wait_seconds.observe(seconds)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    async def watch_loop(self, clock: Clock) -> None:
        """Measure the running loop's lag until cancelled."""
        while True:
            due = clock.monotonic() + _LAG_INTERVAL
            await asyncio.sleep(_LAG_INTERVAL)
            self.loop_lag_seconds.observe(max(0.0, clock.monotonic() - due))

"""Each process's metrics are its own, in Prometheus's format, and the loop's lag is measured."""

import asyncio
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from undercroft.kit.telemetry import Telemetry


class Steps:
    """A clock that moves by a second at each look."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looked = asyncio.Event()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        self.seconds += 1.0
        if self.seconds >= 3:
            self.looked.set()
        return self.seconds


def test_two_processes_do_not_share_their_metrics() -> None:
    first, second = Telemetry(), Telemetry()
    first.requests.labels("GET", "/v1/files", "200").inc()
    assert first.registry.get_sample_value(
        "undercroft_requests_total", {"method": "GET", "route": "/v1/files", "status": "200"}
    )
    assert b'route="/v1/files"' not in second.render()


def test_what_is_rendered_can_be_read_and_has_what_is_promised() -> None:
    telemetry = Telemetry()
    telemetry.connection_acquired(0.004)
    families = {
        family.name: family
        for family in text_string_to_metric_families(telemetry.render().decode())
    }
    assert families.keys() >= {
        "undercroft_requests",
        "undercroft_request_seconds",
        "undercroft_open_requests",
        "undercroft_open_streams",
        "undercroft_pool_wait_seconds",
        "undercroft_loop_lag_seconds",
        "undercroft_queue_depth",
    }
    assert telemetry.registry.get_sample_value("undercroft_pool_wait_seconds_count") == 1


async def test_the_loops_lag_is_how_late_a_timer_ran() -> None:
    telemetry, clock = Telemetry(), Steps()
    watching = asyncio.create_task(telemetry.watch_loop(clock))
    async with asyncio.timeout(60):
        await clock.looked.wait()
    watching.cancel()
    await asyncio.wait([watching])
    observed = telemetry.registry.get_sample_value("undercroft_loop_lag_seconds_sum")
    count = telemetry.registry.get_sample_value("undercroft_loop_lag_seconds_count")
    # By this clock a timer of a tenth of a second took a whole one.
    assert observed is not None
    assert count
    assert abs(observed / count - 0.9) < 1e-6

"""One client's requests are bounded, and nobody else's with them."""

from datetime import UTC, datetime

from undercroft.http.client_rates import ClientRates
from undercroft.kit.errors import ErrorKind, UndercroftError


class SetClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


def count(rates: ClientRates, client: str) -> int:
    """How many requests are taken in a row."""
    for taken in range(1000):
        try:
            rates.take(client)
        except UndercroftError as refused:
            if refused.kind is ErrorKind.RATE_LIMITED and refused.retry_after:
                return taken
            raise
    raise AssertionError("there is no bound")


def test_a_burst_is_taken_and_no_more_until_it_has_come_back() -> None:
    clock = SetClock()
    rates = ClientRates(clock, burst=5, per_second=0.5)
    assert count(rates, "one") == 5
    assert count(rates, "other") == 5
    clock.seconds += 4
    assert count(rates, "one") == 2
    clock.seconds += 3600
    assert count(rates, "one") == 5

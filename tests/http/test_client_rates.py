"""One client's requests are bounded, and nobody else's with them."""

from tests.clocks import SetClock
from undercroft.http.client_rates import ClientRates
from undercroft.identity.accounts.models import Client
from undercroft.kit.errors import ErrorKind, UndercroftError


def count(rates: ClientRates, address: str) -> int:
    """How many requests are taken in a row."""
    for taken in range(1000):
        try:
            rates.take(Client(address, None))
        except UndercroftError as refused:
            if refused.kind is ErrorKind.RATE_LIMITED and refused.retry_after:
                return taken
            raise
    raise AssertionError("there is no bound")


def test_a_burst_is_taken_and_no_more_until_it_has_come_back() -> None:
    clock = SetClock()
    rates = ClientRates(clock, burst=5, per_second=0.5)
    assert count(rates, "192.0.2.1") == 5
    assert count(rates, "192.0.2.2") == 5
    clock.seconds += 4
    assert count(rates, "192.0.2.1") == 2
    clock.seconds += 3600
    assert count(rates, "192.0.2.1") == 5

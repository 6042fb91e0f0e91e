"""A failed delivery is attempted later and later, and not for ever."""

from datetime import timedelta

from undercroft.notifications.schedule import MOST_ATTEMPTS, next_wait


def waits(random: float) -> list[timedelta]:
    found = [next_wait(attempts, random) for attempts in range(1, MOST_ATTEMPTS)]
    return [wait for wait in found if wait is not None]


def test_each_wait_is_longer_up_to_a_day() -> None:
    longest = waits(0.999)
    assert len(longest) == MOST_ATTEMPTS - 1
    assert longest == sorted(longest)
    assert longest[0] < timedelta(seconds=5.01)
    assert longest[-1] <= timedelta(days=1)


def test_chance_takes_up_to_half_of_it() -> None:
    for shortest, longest in zip(waits(0.0), waits(0.999), strict=True):
        assert 1.9 < longest / shortest < 2.0


def test_there_is_a_last_attempt() -> None:
    assert next_wait(MOST_ATTEMPTS, 0.5) is None
    assert next_wait(MOST_ATTEMPTS + 1, 0.5) is None
    assert timedelta(days=1) < sum(waits(0.0), timedelta()) < timedelta(days=1, hours=6)

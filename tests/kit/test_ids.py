"""UUIDv7 as RFC 9562 lays it out, and its one spelling on the wire."""

import random
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.kit.ids import IdSource, parse_id, render_id

# RFC 9562, appendix A.6: this moment and these random bits give that UUID.
_EXAMPLE_TIME = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
_EXAMPLE = UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")


class _SetClock:
    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


def test_the_example_of_the_rfc() -> None:
    random_bits = _EXAMPLE.int & (1 << 80) - 1
    ids = IdSource(_SetClock(_EXAMPLE_TIME), random_bits.to_bytes)
    assert ids.new() == _EXAMPLE


@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    entropy=st.binary(min_size=10, max_size=10),
)
def test_every_id_has_its_version_variant_and_time(moment: datetime, entropy: bytes) -> None:
    made = IdSource(_SetClock(moment), lambda _: entropy).new()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == int(moment.timestamp() * 1000)


def test_ids_of_later_milliseconds_sort_later() -> None:
    clock = _SetClock(_EXAMPLE_TIME)
    ids = IdSource(clock, random.Random(7).randbytes)
    made: list[UUID] = []
    for _ in range(200):
        made.append(ids.new())
        clock.time += timedelta(milliseconds=1)
    assert made == sorted(made)


def test_ids_of_one_millisecond_differ() -> None:
    ids = IdSource(_SetClock(_EXAMPLE_TIME))
    assert len({ids.new() for _ in range(1000)}) == 1000


@given(value=st.uuids(), prefix=st.sampled_from(["file-", "vs_", "resp_"]))
def test_what_is_rendered_is_parsed_back(value: UUID, prefix: str) -> None:
    assert parse_id(prefix, render_id(prefix, value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vs_",
        _EXAMPLE.hex,
        f"file-{_EXAMPLE.hex}",
        f"vs_{_EXAMPLE}",
        f"vs_{_EXAMPLE.hex.upper()}",
        f"vs_{_EXAMPLE.hex}0",
        f"vs_{_EXAMPLE.hex[:-1]}",
        f"vs_{_EXAMPLE.hex[:-1]}g",
        f"vs_{_EXAMPLE.hex[:-1]} ",
        f"vs_{_EXAMPLE.hex[:-1]}\N{FULLWIDTH DIGIT ONE}",
        f"vs_vs_{_EXAMPLE.hex}",
        f" vs_{_EXAMPLE.hex}",
    ],
)
def test_no_second_spelling_is_an_id(text: str) -> None:
    assert parse_id("vs_", text) is None


@given(text=st.text())
def test_whatever_is_sent_parsing_only_answers(text: str) -> None:
    value = parse_id("vs_", text)
    assert value is None or render_id("vs_", value) == text

"""How much memory the server takes, by what this machine or container has."""

from pathlib import Path

import psutil
import pytest

from undercroft.kit.postgres.configuration import usable_memory

_TOTAL = psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("limit", "usable"),
    [
        ("1073741824\n", 1 << 30),
        ("max\n", _TOTAL),
        # The first version of control groups has no word for it.
        ("9223372036854771712\n", _TOTAL),
    ],
)
def test_a_containers_limit_counts_where_it_is_less(
    tmp_path: Path, limit: str, usable: int
) -> None:
    limits = [tmp_path / "none", tmp_path / "limit", tmp_path / "later"]
    limits[1].write_text(limit)
    limits[2].write_text("4096\n")
    assert usable_memory(limits) == usable


def test_where_nothing_tells_of_limits_the_machine_counts(tmp_path: Path) -> None:
    assert usable_memory([tmp_path / "none"]) == _TOTAL

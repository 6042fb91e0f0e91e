"""How much memory the server takes, by what this machine, container or unit of systemd has."""

from pathlib import Path

import psutil
import pytest

from undercroft.kit.postgres.configuration import usable_memory

_TOTAL = psutil.virtual_memory().total
_FIRST = "9:cpu:/\n4:memory,hugetlb:/box/inner\n0::/\n"
_SECOND = "0::/system.slice/undercroft.service\n"


@pytest.mark.parametrize(
    ("own", "limits", "usable"),
    [
        (_SECOND, {"system.slice/undercroft.service/memory.max": "1073741824\n"}, 1 << 30),
        (_SECOND, {"system.slice/undercroft.service/memory.max": "max\n"}, _TOTAL),
        (
            _SECOND,
            {
                "system.slice/undercroft.service/memory.max": "max\n",
                "system.slice/memory.max": "1073741824\n",
                "memory.max": "2147483648\n",
            },
            1 << 30,
        ),
        # What another unit may have is not this one's.
        (_SECOND, {"system.slice/other.service/memory.max": "4096\n"}, _TOTAL),
        # A container, seen from within.
        ("0::/\n", {"memory.max": "1073741824\n"}, 1 << 30),
        # The first version of control groups has no word for no limit.
        (_FIRST, {"memory/box/inner/memory.limit_in_bytes": "9223372036854771712\n"}, _TOTAL),
        (_FIRST, {"memory/box/memory.limit_in_bytes": "1073741824\n"}, 1 << 30),
        # A container whose group is told as its host names it, and lies at the root.
        (_FIRST, {"memory/memory.limit_in_bytes": "1073741824\n"}, 1 << 30),
        (_FIRST, {}, _TOTAL),
    ],
)
def test_the_least_limit_counts(
    tmp_path: Path, own: str, limits: dict[str, str], usable: int
) -> None:
    named = tmp_path / "own"
    named.write_text(own)
    for name, text in limits.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert usable_memory(tmp_path / "groups", named) == usable


def test_where_nothing_tells_of_limits_the_machine_counts(tmp_path: Path) -> None:
    assert usable_memory(tmp_path / "none", tmp_path / "neither") == _TOTAL

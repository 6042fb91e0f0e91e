"""Addresses of tiles, spelt in one way only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.ledger.tiles import Tile, bundle, parse_level, parse_tile, render_tile


@given(st.integers(0, 10**18 - 1), st.integers(1, 256))
def test_a_path_leads_back_to_its_tile(index: int, width: int) -> None:
    assert parse_tile(render_tile(Tile(index, width))) == Tile(index, width)


@given(st.text(alphabet="x0123456789/.p", max_size=16))
def test_no_tile_has_two_paths(path: str) -> None:
    tile = parse_tile(path)
    assert tile is None or render_tile(tile) == path


def test_the_example_of_the_format() -> None:
    assert parse_tile("x001/x234/067") == Tile(1234067, 256)
    assert parse_tile("273.p/112") == Tile(273, 112)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "67",
        "0067",
        "x000/067",
        "x001",
        "001/234",
        "x001/x234",
        "067.p/0",
        "067.p/256",
        "067.p/08",
        "067.p/",
        "067/",
        "/067",
        "-01",
        "٠٦٧",
        "067\n",
        "x001/" * 6 + "001",
    ],
)
def test_other_spellings_are_none(path: str) -> None:
    assert parse_tile(path) is None


def test_levels() -> None:
    assert [parse_level(text) for text in ("0", "9", "63")] == [0, 9, 63]
    assert {parse_level(text) for text in ("", "00", "01", "64", "-1", "٣", "1\n")} == {None}


def test_a_bundle_has_each_length_in_two_bytes() -> None:
    assert bundle([b"ab", b"", b"x" * 300]) == b"\0\x02ab\0\0\x01\x2c" + b"x" * 300

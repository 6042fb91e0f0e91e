"""Single values: only the right key in the right place opens them."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.ids import IdSource

IDS = IdSource()
KEY, TENANT, ROW = bytes(range(32)), IDS.new(), IDS.new()
PLACE = bind(TENANT, "documents", ROW, "name", 1)


@given(st.binary(max_size=300))
def test_a_value_comes_back(plaintext: bytes) -> None:
    sealed = seal(KEY, plaintext, PLACE)
    assert unseal(KEY, sealed, PLACE) == plaintext
    assert seal(KEY, plaintext, PLACE) != sealed


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, b"value", PLACE))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionError):
        unseal(KEY, bytes(sealed), PLACE)


@pytest.mark.parametrize("length", [0, 1, 12, 27, 32])
def test_a_value_that_was_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(DecryptionError):
        unseal(KEY, seal(KEY, b"value", PLACE)[:length], PLACE)


def test_no_two_places_share_a_context() -> None:
    places = [
        PLACE,
        bind(IDS.new(), "documents", ROW, "name", 1),
        bind(TENANT, "documents", IDS.new(), "name", 1),
        bind(TENANT, "documentsn", ROW, "ame", 1),
        bind(TENANT, "records", ROW, "name", 1),
        bind(TENANT, "documents", ROW, "title", 1),
        bind(TENANT, "documents", ROW, "name", 2),
    ]
    for one, other in combinations(places, 2):
        assert one != other
        with pytest.raises(DecryptionError):
            unseal(KEY, seal(KEY, b"value", one), other)

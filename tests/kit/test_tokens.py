"""Opaque tokens: of one kind, of full length, and stored as a hash."""

import base64
import hashlib

import pytest

from undercroft.kit.tokens import hash_token, is_token, make_token

TOKEN = make_token("ux_", lambda count: b"\x07" * count)


def test_a_token_has_its_prefix_and_all_of_its_random_bits() -> None:
    random_part = base64.urlsafe_b64decode(TOKEN.removeprefix("ux_") + "=")
    assert random_part == b"\x07" * 32
    assert make_token("ux_", lambda count: b"\x08" * count) != TOKEN
    assert is_token("ux_", TOKEN)


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "ux_",
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN[3:],
        "uy_" + TOKEN[3:],
        "x" + TOKEN,
        TOKEN + "\n",
        TOKEN[:-1] + "é",
        TOKEN[:-1] + "\x00",
    ],
)
def test_what_is_no_token_of_the_kind_is_told(rubbish: str) -> None:
    assert not is_token("ux_", rubbish)


def test_its_hash_alone_is_stored() -> None:
    assert hash_token(TOKEN) == hashlib.sha256(TOKEN.encode()).digest()

"""What a refresh token looks like, and that only who has one can make the next. ASVS 5.0: 7.2.3, 11.5.1."""

import os

import pytest

from undercroft.identity.sessions.tokens import make_refresh_token, parse_refresh_token

TOKEN = make_refresh_token(bytes)


def test_every_token_that_is_made_is_one() -> None:
    for _ in range(500):
        token = make_refresh_token(os.urandom)
        assert parse_refresh_token(token.text) == token
        successor = token.successor(os.urandom(32))
        assert parse_refresh_token(successor.text) == successor


@pytest.mark.parametrize(
    "changed",
    [
        TOKEN.text + "\n",
        " " + TOKEN.text,
        TOKEN.text[:-1],
        TOKEN.text + "A",
        TOKEN.text.replace("ur_", "ut_"),
        TOKEN.text[:-1] + "é",
        TOKEN.text[:-1] + "\x00",
    ],
)
def test_what_differs_in_form_is_none(changed: str) -> None:
    assert parse_refresh_token(changed) is None


def test_the_next_token_is_of_the_family_and_another_for_each_salt_and_each_token() -> None:
    first, second = make_refresh_token(os.urandom), make_refresh_token(os.urandom)
    salts = os.urandom(32), os.urandom(32)
    successors = [token.successor(salt) for token in (first, second) for salt in salts]
    assert len({token.text for token in (first, second, *successors)}) == 6
    assert successors[0].family_hash == first.family_hash != second.family_hash
    assert first.successor(salts[0]) == first.successor(salts[0])


def test_the_hash_depends_on_every_character_behind_the_family() -> None:
    hashes = {
        parse_refresh_token(TOKEN.text[:place] + "-" + TOKEN.text[place + 1 :]).token_hash  # pyright: ignore[reportOptionalMemberAccess] - each has the form
        for place in range(3, len(TOKEN.text))
    }
    assert len(hashes) == len(TOKEN.text) - 3


def test_a_token_does_not_show_when_it_is_printed() -> None:
    assert TOKEN.text[3:] not in repr(TOKEN)

"""What a key looks like, and how little of it is kept."""

import hashlib
import os

import pytest

from undercroft.identity.keys import is_well_formed, make_key
from undercroft.kit.tokens import hash_token

SECRET = make_key(bytes).secret


def test_a_key_is_made_of_its_entropy_alone() -> None:
    key = make_key(lambda size: bytes(range(size)))
    assert key.secret == "uk_aaaqeaye_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert key.prefix == key.secret[:11]
    assert key.key_hash == hashlib.sha256(key.secret.encode()).digest()


def test_every_key_that_is_made_is_well_formed() -> None:
    for _ in range(500):
        assert is_well_formed(make_key(os.urandom).secret)


@pytest.mark.parametrize(
    "changed",
    [
        SECRET + "\n",
        " " + SECRET,
        SECRET[:-1],
        SECRET + "a",
        SECRET.replace("uk_", "sk_"),
        SECRET[:-1] + "é",
        SECRET[:-1] + "\x00",
        SECRET[:3] + SECRET[3:11].upper() + SECRET[11:],
    ],
)
def test_what_differs_in_one_place_is_not(changed: str) -> None:
    assert is_well_formed(SECRET)
    assert not is_well_formed(changed)


def test_the_hash_depends_on_every_character() -> None:
    changed = [SECRET[:place] + "~" + SECRET[place + 1 :] for place in range(len(SECRET))]
    assert len({hash_token(text) for text in [SECRET, *changed]}) == len(SECRET) + 1

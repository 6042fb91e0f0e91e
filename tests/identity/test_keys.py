"""What a key looks like, and how little of it is kept."""

import hashlib
import os

import pytest

from undercroft.identity.keys import hash_key, is_well_formed, make_key


def test_a_key_is_made_of_its_entropy_alone() -> None:
    draws = [b"\x00\x01\x02\x03\x04", bytes(range(32))]
    key = make_key(lambda size: draws.pop(0)[:size])
    assert key.secret == "uk_aaaqeayeaudaocajbifqydiob4"[:11] + (
        "_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    )
    assert key.prefix == key.secret[:11]
    assert key.key_hash == hashlib.sha256(key.secret.encode()).digest()


def test_every_key_that_is_made_is_well_formed() -> None:
    for _ in range(500):
        assert is_well_formed(make_key(os.urandom).secret)


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: secret + "\n",
        lambda secret: " " + secret,
        lambda secret: secret[:-1],
        lambda secret: secret + "a",
        lambda secret: secret.replace("uk_", "sk_"),
        lambda secret: secret[:-1] + "é",
        lambda secret: secret[:-1] + "\x00",
        lambda secret: secret[:3] + secret[3:11].upper().replace("2", "A") + secret[11:],
    ],
)
def test_what_differs_in_one_place_is_not(change: object) -> None:
    secret = make_key(lambda size: bytes(size)).secret
    assert callable(change)
    assert is_well_formed(secret)
    assert not is_well_formed(change(secret))


def test_the_hash_depends_on_every_character() -> None:
    secret = make_key(lambda size: bytes(size)).secret
    changed = [secret[:place] + "~" + secret[place + 1 :] for place in range(len(secret))]
    assert len({hash_key(text) for text in [secret, *changed]}) == len(secret) + 1

"""Hashes of passwords: the cost that was chosen, off the loop, and never more at once than there are places.

ASVS 5.0: 11.4.2 (an approved, memory-hard function), 6.2.8 (verified as received), 15.2.2 (bounded in memory).
"""

import asyncio
import threading
from collections.abc import Generator

import pytest

from tests.stepping import PATIENCE
from undercroft.identity.accounts import hashing
from undercroft.identity.accounts.hashing import HashCost, PasswordHasher
from undercroft.kit.errors import UnavailableError

CHEAP = HashCost(iterations=1, lanes=1, kibibytes=32)
DEARER = HashCost(iterations=2, lanes=1, kibibytes=32)
PASSWORD = b"correct horse battery"


@pytest.fixture
def hasher() -> Generator[PasswordHasher]:
    opened = PasswordHasher(CHEAP)
    yield opened
    opened.close()


async def test_a_hash_is_of_its_password_alone(hasher: PasswordHasher) -> None:
    async with hasher.place() as place:
        encoded = await place.hash(PASSWORD)
        assert await place.is_password(PASSWORD, encoded)
        for other in (PASSWORD[:-1], PASSWORD + b" ", PASSWORD.upper(), b""):
            assert not await place.is_password(other, encoded)
        assert await place.hash(PASSWORD) != encoded, "each has a salt of its own"


async def test_where_there_is_no_password_none_is_right(hasher: PasswordHasher) -> None:
    async with hasher.place() as place:
        assert not await place.is_password(PASSWORD, None)
        assert not await place.is_password(b"", None)


async def test_where_there_is_no_password_as_much_is_computed(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    is_password = hashing._is_password

    def watch(password: bytes, encoded: str) -> bool:
        checked.append(encoded)
        return is_password(password, encoded)

    monkeypatch.setattr(hashing, "_is_password", watch)
    async with hasher.place() as place:
        encoded = await place.hash(PASSWORD)
        await place.is_password(PASSWORD, encoded)
        await place.is_password(PASSWORD, None)
    real, nobodys = checked
    assert nobodys.startswith(CHEAP.prefix)
    assert [len(part) for part in nobodys.split("$")] == [len(part) for part in real.split("$")]


def test_new_hashes_cost_what_rfc_9106_recommends_second() -> None:
    assert HashCost().prefix == "$argon2id$v=19$m=65536,t=3,p=4$"


async def test_a_hash_of_another_cost_is_right_and_outdated(hasher: PasswordHasher) -> None:
    dearer = PasswordHasher(DEARER)
    async with dearer.place() as place:
        encoded = await place.hash(PASSWORD)
    dearer.close()
    assert hasher.is_outdated(encoded)
    assert not dearer.is_outdated(encoded)
    async with hasher.place() as place:
        assert await place.is_password(PASSWORD, encoded)


async def test_no_more_are_computed_at_once_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock, enough = 0, 0, threading.Lock(), threading.Barrier(2)

    def count(password: bytes, salt: bytes, cost: HashCost) -> str:
        nonlocal running, most
        del password, salt, cost
        with lock:
            running += 1
            most = max(most, running)
        enough.wait(PATIENCE)  # two run together, or the barrier breaks
        with lock:
            running -= 1
        return ""

    monkeypatch.setattr(hashing, "_hash", count)
    hasher = PasswordHasher(CHEAP, at_once=2, waiting=4)
    loop_thread = threading.get_ident()

    async def one() -> None:
        async with hasher.place() as place:
            await place.hash(PASSWORD)

    await asyncio.gather(*(one() for _ in range(6)))
    assert most == 2
    assert threading.get_ident() == loop_thread
    hasher.close()


async def test_one_over_the_places_is_refused_at_once_and_a_freed_place_is_taken() -> None:
    hasher = PasswordHasher(CHEAP, at_once=1, waiting=1)
    async with hasher.place():
        async with hasher.place():
            with pytest.raises(UnavailableError) as refused:
                async with hasher.place():
                    pass
        assert refused.value.retry_after
        async with hasher.place() as place:
            await place.hash(PASSWORD)
    hasher.close()

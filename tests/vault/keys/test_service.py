"""Keys: made once, opened only where they belong, and useless once their row is gone, cached or not."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import rolled_back
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing, tenant_key_context


@pytest.fixture
async def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())


async def made(database: Database, keys: KeyRing, scope: Member) -> DataKey:
    async with database.transaction(scope) as transaction:
        return await keys.create(transaction, scope)


async def read(database: Database, keys: KeyRing, scope: Member, key: DataKey) -> DataKey | None:
    async with database.transaction(scope) as transaction:
        return await keys.read(transaction, key.id)


async def count(database: Database, scope: Member, table: str) -> int:
    async with database.transaction(scope) as transaction:
        counted: int = await transaction.fetchval(f"SELECT count(*) FROM {table}")
    return counted


async def test_another_process_opens_what_one_made(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    key = await made(database, keys, ann)
    other = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
    assert await read(database, other, ann, key) == key
    assert key.material not in repr(key).encode()
    assert key.salt != (await made(database, keys, ann)).salt


async def test_first_keys_made_at_once_are_wrapped_by_one_key_of_the_tenant(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    several = await asyncio.gather(*(made(database, keys, ann) for _ in range(6)))
    assert await count(database, ann, "tenant_keys") == 1
    for key in several:
        assert await read(database, keys, ann, key) == key


async def test_a_key_of_another_tenant_is_not_there(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    key = await made(database, keys, ann)
    assert await read(database, keys, bob, key) is None


async def test_a_destroyed_key_opens_nothing_although_the_tenants_key_is_cached(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    key = await made(database, keys, ann)
    assert await read(database, keys, ann, key) == key
    async with database.transaction(ann) as transaction:
        await keys.destroy(transaction, [key.id])
    assert await read(database, keys, ann, key) is None


async def test_a_destroyed_tenants_key_opens_nothing_although_it_is_cached(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    key = await made(database, keys, ann)
    async with database.transaction(ann) as transaction:
        await transaction.execute("UPDATE tenant_keys SET wrapped_key = NULL")
    attempts: list[Callable[[], Awaitable[DataKey | None]]] = [
        lambda: read(database, keys, ann, key),
        lambda: made(database, keys, ann),
    ]
    for attempt in attempts:
        with pytest.raises(KeyDestroyedError):
            await attempt()


@pytest.mark.parametrize("table", ["data_keys", "tenant_keys"])
async def test_swapped_wrapped_keys_are_noticed(
    database: Database, keys: KeyRing, make_scope: MakeScope, table: str
) -> None:
    ann, bob = await make_scope(), await make_scope()
    first, second = await made(database, keys, ann), await made(database, keys, ann)
    foreign = await made(database, keys, bob)
    async with database.transaction(bob) as transaction:
        swapped = await transaction.fetchval(f"SELECT wrapped_key FROM {table} LIMIT 1")
    async with database.transaction(ann) as transaction:
        if table == "data_keys":
            swapped = await transaction.fetchval(
                "SELECT wrapped_key FROM data_keys WHERE id = $1", second.id
            )
        await transaction.execute(f"UPDATE {table} SET wrapped_key = $1", swapped)
    with pytest.raises(DecryptionError):
        await read(database, keys, ann, first)
    assert await read(database, keys, bob, foreign) == foreign


async def test_a_lost_key_file_is_said_plainly(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    key = await made(database, keys, ann)
    stranger = KeyRing(await KeyFile.open(tmp_path / "another.key"), IdSource())
    with pytest.raises(UndercroftError, match="Put back the file"):
        await read(database, stranger, ann, key)
    assert await read(database, keys, ann, key) == key


async def test_equal_values_have_equal_digests_for_one_tenant_and_purpose_alone(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()

    async def digest(scope: Member, purpose: str, value: bytes = b"value") -> bytes:
        async with database.transaction(scope) as transaction:
            return await keys.lookup_digest(transaction, scope, purpose, value)

    at_once = await asyncio.gather(*(digest(ann, "content") for _ in range(6)))
    assert len(set(at_once)) == 1
    assert await count(database, ann, "lookup_keys") == 1
    assert await count(database, ann, "data_keys") == 1
    others = [
        digest(bob, "content"),
        digest(ann, "conten", b"tvalue"),
        digest(ann, "content", b"?"),
    ]
    assert len({at_once[0], *[await other for other in others]}) == 4


async def test_a_key_that_is_not_the_tenants_current_one_any_more_wraps_nothing(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    await made(database, keys, ann)
    next_id, provider = IdSource().new(), await KeyFile.open(tmp_path / "provider.key")
    wrapped = await provider.wrap(b"k" * 32, tenant_key_context(ann.tenant_id, next_id))
    async with database.transaction(ann) as transaction:
        await transaction.execute("UPDATE tenant_keys SET is_current = false")
        await transaction.execute(
            "INSERT INTO tenant_keys (id, tenant_id, number, wrapped_key, is_current)"
            " VALUES ($1, current_tenant(), 2, $2, true)",
            next_id,
            wrapped,
        )
    key = await made(database, keys, ann)
    async with database.transaction(ann) as transaction:
        wrapping = await transaction.fetchval(
            "SELECT tenant_key_id FROM data_keys WHERE id = $1", key.id
        )
    assert wrapping == next_id
    assert await read(database, keys, ann, key) == key


async def test_a_first_key_whose_transaction_failed_is_made_again(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with rolled_back(database, ann) as transaction:
        await keys.create(transaction, ann)
    key = await made(database, keys, ann)
    assert await read(database, keys, ann, key) == key


async def test_who_has_made_a_key_makes_the_next_in_one_statement(
    database: Database, keys: KeyRing, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await made(database, keys, ann)
    async with database.transaction(ann) as transaction:
        statements: list[str] = []
        with transaction.query_logger(lambda one: statements.append(one.query)):
            await keys.create(transaction, ann)
    assert len(statements) == 1

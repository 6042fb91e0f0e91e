"""Rotations: nothing is lost while others write, an interrupted one is finished, and what is destroyed stays so."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import rolled_back, until_blocked, until_waiting_for
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile, add_key
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.service import Ledger
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys.destruction import TenantDestruction
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.rotation import KeyRotation
from undercroft.vault.keys.service import KeyRing, tenant_key_context

IDS = IdSource()


def unheard(done: int, total: int) -> None:
    assert done <= total


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "provider.key"


@pytest.fixture
async def keys(path: Path) -> KeyRing:
    """Of a service that goes on while keys are rotated."""
    return KeyRing(await KeyFile.open(path), IDS)


async def rotation(database: Database, path: Path) -> KeyRotation:
    """Of a command that is run now."""
    provider = await KeyFile.open(path)
    ledger = Ledger(database, IDS, SystemClock())
    return KeyRotation(database, provider, LogKeys(database, provider, "test"), ledger, IDS)


def destruction(database: Database, path: Path) -> TenantDestruction:
    ledger = Ledger(database, IDS, SystemClock())
    return TenantDestruction(database, LocalBlobStore(path.parent / "blobs"), ledger)


async def make(database: Database, keys: KeyRing, scope: Member) -> DataKey:
    async with database.transaction(scope) as transaction:
        return await keys.create(transaction, scope)


async def make_in_order(database: Database, keys: KeyRing, scope: Member) -> list[DataKey]:
    """Three, in the order in which a rotation comes to them: ids of one millisecond are in any."""
    return sorted([await make(database, keys, scope) for _ in range(3)], key=lambda key: key.id)


async def check(database: Database, keys: KeyRing, scope: Member, *made: DataKey) -> None:
    async with database.transaction(scope) as transaction:
        assert [await keys.read(transaction, key.id) for key in made] == list(made)


async def state(database: Database, scope: Member) -> list[tuple[int, bool, bool, int]]:
    """The tenant's keys: number, whether current, whether there, and how many data keys each wraps."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT t.number, t.is_current, t.wrapped_key IS NOT NULL AS there, count(k.id)"
            " FROM tenant_keys AS t LEFT JOIN data_keys AS k ON k.tenant_key_id = t.id GROUP BY t.id ORDER BY 1"
        )
    return [tuple(row.values()) for row in rows]


async def test_a_tenants_key_is_replaced_under_what_it_wrapped(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    made = [await make(database, keys, ann) for _ in range(7)]
    foreign = await make(database, keys, bob)
    heard: list[tuple[int, int]] = []
    await (await rotation(database, path)).rotate_tenant(
        ann.tenant_id, lambda done, total: heard.append((done, total))
    )
    assert heard == [(7, 7)]
    assert await state(database, ann) == [(1, False, False, 0), (2, True, True, 7)]
    assert await state(database, bob) == [(1, True, True, 1)]
    await check(database, keys, ann, *made, await make(database, keys, ann))
    await check(database, keys, bob, foreign)


async def test_a_key_that_is_being_written_is_waited_for(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first = await make(database, keys, ann)
    rotating = await rotation(database, path)
    async with database.transaction(ann) as transaction:
        late = await keys.create(transaction, ann)
        running = asyncio.create_task(rotating.rotate_tenant(ann.tenant_id, unheard))
        await until_blocked(database)
    await running
    assert await state(database, ann) == [(1, False, False, 0), (2, True, True, 2)]
    await check(database, keys, ann, first, late)


async def test_an_interrupted_rotation_is_finished_not_begun_again(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = [await make(database, keys, ann) for _ in range(3)]
    interrupted = await rotation(database, path)
    await interrupted._replace(ann)
    assert await state(database, ann) == [(1, False, True, 3), (2, True, True, 0)]
    await check(database, keys, ann, *made, await make(database, keys, ann))
    await (await rotation(database, path)).rotate_tenant(ann.tenant_id, unheard)
    assert await state(database, ann) == [(1, False, False, 0), (2, True, True, 4)]
    await check(database, keys, ann, *made)


async def test_the_providers_key_is_replaced_while_a_service_goes_on(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    made = await make(database, keys, ann)
    signers = LogKeys(database, await KeyFile.open(path), "test")
    before = await signers.get(ann.tenant_id)
    add_key(path)
    fresh = await make(database, keys, bob)
    rotating = await rotation(database, path)
    assert await rotating.needs_former_keys()
    await rotating.rotate_provider(unheard)
    assert not await rotating.needs_former_keys()
    await check(database, keys, ann, made)
    await check(database, keys, bob, fresh)
    again = LogKeys(database, await KeyFile.open(path), "test")
    assert (await again.get(ann.tenant_id)).number == before.number


async def test_a_destroyed_tenant_can_keep_nothing_and_read_nothing(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    made, foreign = await make(database, keys, ann), await make(database, keys, bob)
    rotating, destroying = await rotation(database, path), destruction(database, path)
    await destroying.destroy(ann.tenant_id, unheard)
    for attempt in (check(database, keys, ann, made), make(database, keys, ann)):
        with pytest.raises(KeyDestroyedError):
            await attempt
    await destroying.destroy(ann.tenant_id, unheard)
    stranger = await make_scope()
    for refused in (
        destroying.destroy(stranger.tenant_id, unheard),
        rotating.rotate_tenant(ann.tenant_id, unheard),
    ):
        with pytest.raises(NotFoundError):
            await refused
    await check(database, keys, bob, foreign)


async def test_a_destruction_leaves_no_key_that_a_rotation_makes_meanwhile(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await make(database, keys, ann)
    rotating, destroying = await rotation(database, path), destruction(database, path)
    async with database.transaction(ann) as transaction:
        await keys.create(transaction, ann)  # as an upload that a rotation has to wait for
        replacing = asyncio.create_task(rotating._replace(ann))
        await until_blocked(database)
        ending = asyncio.create_task(destroying.destroy(ann.tenant_id, unheard))
        await until_blocked(database, 2)
    await replacing
    await ending
    assert [there for _, _, there, _ in await state(database, ann)] == [False, False]
    with pytest.raises(KeyDestroyedError):
        await check(database, keys, ann, made)


async def test_a_rotation_that_waited_for_another_one_goes_on_with_its_key(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = [await make(database, keys, ann) for _ in range(3)]
    rotating = await rotation(database, path)
    await rotating._replace(ann)
    async with database.transaction(ann) as transaction:
        # Another one, up to its commit.
        await rotating._repository.lock_tenant_keys(transaction)
        found = await rotating._repository.lock_current_tenant_key(transaction)
        assert found is not None
        key_id = IDS.new()
        wrapped = await rotating._provider.wrap(
            bytes(32), tenant_key_context(ann.tenant_id, key_id)
        )
        await rotating._repository.replace_tenant_key(transaction, found[0].id, key_id, 3, wrapped)
        running = asyncio.create_task(rotating.rotate_tenant(ann.tenant_id, unheard))
        await until_blocked(database)
    await running
    assert [count for *_, count in await state(database, ann)] == [0, 0, 3]
    await check(database, keys, ann, *made)


async def test_what_others_hold_is_waited_for_before_the_former_key_is_destroyed(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = [await make(database, keys, ann) for _ in range(3)]
    rotating = await rotation(database, path)
    async with rolled_back(database, ann) as transaction:
        await keys.destroy(transaction, [made[1].id])
        running = asyncio.create_task(rotating.rotate_tenant(ann.tenant_id, unheard))
        await until_blocked(database)
        assert [count for *_, count in await state(database, ann)] == [1, 2]
    assert await running == frozenset()
    assert await state(database, ann) == [(1, False, False, 0), (2, True, True, 3)]
    await check(database, keys, ann, *made)


async def test_a_delete_that_is_waited_for_can_go_on(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await make_in_order(database, keys, ann)
    rotating = await rotation(database, path)
    async with database.transaction(ann) as transaction:
        await keys.destroy(transaction, [made[1].id])
        async with rolled_back(database, ann) as other:
            await keys.destroy(other, [made[0].id])
            running = asyncio.create_task(rotating.rotate_tenant(ann.tenant_id, unheard))
            await until_waiting_for(database, other)
        await until_waiting_for(database, transaction)
        assert (await state(database, ann))[1][3] == 2
        # Not in the order of the ids, and behind the tenant's key: it must find both free.
        await keys.destroy(transaction, [made[0].id])
        late = await keys.create(transaction, ann)
    await running
    assert await state(database, ann) == [(1, False, False, 0), (2, True, True, 2)]
    await check(database, keys, ann, made[2], late)


async def test_a_rotation_that_waits_for_a_key_holds_no_other(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await make_in_order(database, keys, ann)
    rotating = await rotation(database, path)
    await rotating._replace(ann)
    async with database.transaction(ann) as deleting:
        await keys.destroy(deleting, [made[1].id])
        async with database.transaction(ann) as wrapping:
            # As another rotation of the same tenant does.
            current = await rotating._tenant_keys.find_current_tenant_key(wrapping)
            assert current is not None
            await rotating._repository.rewrap_data_keys(
                wrapping, current.id, {made[0].id: bytes(60)}
            )
            running = asyncio.create_task(rotating.rotate_tenant(ann.tenant_id, unheard))
            await until_waiting_for(database, wrapping)
        # It waited for the first, which is done by now, and goes on to the second.
        await until_waiting_for(database, deleting)
        await keys.destroy(deleting, [made[0].id])
    await running
    await check(database, keys, ann, made[2])


async def test_a_damaged_key_stops_neither_this_rotation_nor_the_next(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = [await make(database, keys, ann) for _ in range(3)]
    async with database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE data_keys SET wrapped_key = sha256('') || substr(wrapped_key, 33) WHERE id = $1",
            made[1].id,
        )
    rotating = await rotation(database, path)
    assert await rotating.rotate_tenant(ann.tenant_id, unheard) == {made[1].id}
    assert await state(database, ann) == [(1, False, True, 1), (2, True, True, 2)]
    await check(database, keys, ann, made[0], made[2])
    assert await rotating.rotate_tenant(ann.tenant_id, unheard) == {made[1].id}
    assert await state(database, ann) == [
        (1, False, True, 1),
        (2, False, False, 0),
        (3, True, True, 2),
    ]
    await check(database, keys, ann, made[0], made[2])


async def test_a_damaged_tenant_or_signing_key_stops_no_rotation_of_the_providers_key(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    await make(database, keys, ann)
    made = await make(database, keys, bob)
    for scope in (ann, bob):
        await LogKeys(database, await KeyFile.open(path), "test").get(scope.tenant_id)
    async with database.transaction(ann) as transaction:
        for table, column in (
            ("tenant_keys", "wrapped_key"),
            ("ledger_keys", "wrapped_private_key"),
        ):
            await transaction.execute(
                f"UPDATE {table} SET {column} = set_byte({column}, 20, get_byte({column}, 20) # 1)"
            )
    for _ in range(2):
        add_key(path)
        rotating = await rotation(database, path)
        assert await rotating.needs_former_keys()
        tenant_key, signing_key = await rotating.rotate_provider(unheard)
        assert tenant_key.startswith("tenant key ")
        assert signing_key.startswith("signing key 1 of log ")
        # The next rotation begins with a fresh key, rather than finishing this one for ever.
        assert not await rotating.needs_former_keys()
    await check(database, keys, bob, made)


async def test_an_operators_acts_on_keys_are_on_record_as_the_operators(
    database: Database, keys: KeyRing, path: Path, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await make(database, keys, ann)
    await (await rotation(database, path)).rotate_tenant(ann.tenant_id, unheard)
    await destruction(database, path).destroy(ann.tenant_id, unheard)
    await destruction(database, path).destroy(ann.tenant_id, unheard)
    async with database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT action, version, leaf FROM ledger_pending ORDER BY 1"
        )
    acts = [(row["action"], row["version"]) for row in rows]
    assert acts == [("tenant_key.destroy", None), ("tenant_key.rotate", 2)]
    assert {json.loads(row["leaf"])["actor"] for row in rows} == {"operator"}

"""Writers of one record at the same time, stepped: no change is lost, and a lock holds whoever has no token."""

import asyncio

import pytest

from tests.conftest import MakeScope
from tests.records import ANY, Cabinet, changed, made_from
from tests.stepping import until_blocked
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.vault.records.errors import LockLostError, RecordLockedError
from undercroft.vault.records.models import Precondition
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.schemas.errors import StaleVersionError

REPOSITORY = RecordRepository()


async def test_of_two_changes_from_one_version_the_later_one_is_refused(
    cabinet: Cabinet, make_scope: MakeScope, database: Database
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    async with cabinet.database.transaction(ann) as transaction:
        await REPOSITORY.lock_record(transaction, record.id)
        first, second = (
            asyncio.create_task(
                cabinet.records.update(ann, record.id, made_from(record), changed(age=age))
            )
            for age in (1, 2)
        )
        await until_blocked(database, 2)
    results = await asyncio.gather(first, second, return_exceptions=True)
    refused = [result for result in results if isinstance(result, StaleVersionError)]
    assert len(refused) == 1
    assert (await cabinet.records.get(ann, record.id)).version == 2


async def test_two_changes_of_any_version_are_both_kept(
    cabinet: Cabinet, make_scope: MakeScope, database: Database
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    async with cabinet.database.transaction(ann) as transaction:
        await REPOSITORY.lock_record(transaction, record.id)
        changes = [
            asyncio.create_task(cabinet.records.update(ann, record.id, ANY, change))
            for change in (changed(age=7), changed(city="Kiel"))
        ]
        await until_blocked(database, 2)
    await asyncio.gather(*changes)
    latest = await cabinet.records.get(ann, record.id)
    assert (latest.version, latest.data["age"], latest.data["city"]) == (3, 7, "Kiel")


async def test_of_two_lockers_one_gets_the_lock(
    cabinet: Cabinet, make_scope: MakeScope, database: Database
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    async with cabinet.database.transaction(ann) as transaction:
        await REPOSITORY.lock_record(transaction, record.id)
        lockers = [asyncio.create_task(cabinet.locks.acquire(ann, record.id, 60)) for _ in range(2)]
        await until_blocked(database, 2)
    results = await asyncio.gather(*lockers, return_exceptions=True)
    assert len([result for result in results if isinstance(result, RecordLockedError)]) == 1


async def test_a_write_that_waited_for_a_lock_is_refused(
    cabinet: Cabinet, make_scope: MakeScope, database: Database
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    async with cabinet.database.transaction(ann) as transaction:
        await REPOSITORY.lock_record(transaction, record.id)
        await REPOSITORY.set_lock(transaction, record.id, bytes(32), 60)
        writing = asyncio.create_task(cabinet.records.update(ann, record.id, ANY, changed(age=1)))
        await until_blocked(database)
    with pytest.raises(RecordLockedError) as refused:
        await writing
    assert refused.value.retry_after in range(55, 61)


async def test_only_the_tokens_holder_writes_while_a_record_is_locked(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    lock = await cabinet.locks.acquire(ann, record.id, 60)
    holder = Precondition(frozenset({1}), lock.token)
    assert lock.token not in repr(lock)
    for write in (
        cabinet.records.update(ann, record.id, ANY, changed(age=1)),
        cabinet.records.delete(ann, record.id, ANY),
        cabinet.locks.acquire(ann, record.id, 60),
    ):
        with pytest.raises(RecordLockedError):
            await write
    with pytest.raises(LockLostError):
        await cabinet.records.update(ann, record.id, Precondition(None, "another"), changed(age=1))
    assert (await cabinet.records.update(ann, record.id, holder, changed(age=1))).version == 2
    renewed = await cabinet.locks.renew(ann, record.id, lock.token, 300)
    assert renewed.expires_at > lock.expires_at
    with pytest.raises(LockLostError):
        await cabinet.locks.release(ann, record.id, "another")
    await cabinet.locks.release(ann, record.id, lock.token)
    for late in (
        cabinet.locks.release(ann, record.id, lock.token),
        cabinet.locks.renew(ann, record.id, lock.token, 60),
        cabinet.records.update(ann, record.id, Precondition(None, lock.token), changed(age=2)),
    ):
        with pytest.raises(LockLostError):
            await late
    assert (await cabinet.records.update(ann, record.id, ANY, changed(age=3))).version == 3


async def test_a_lease_that_is_over_holds_nobody_and_its_token_is_worth_nothing(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    lock = await cabinet.locks.acquire(ann, record.id, 60)
    async with cabinet.database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE records SET locked_until = clock_timestamp() - interval '1 second'"
        )
    with pytest.raises(LockLostError):
        await cabinet.records.update(ann, record.id, Precondition(None, lock.token), changed(age=1))
    assert (await cabinet.records.update(ann, record.id, ANY, changed(age=1))).version == 2
    assert (await cabinet.locks.acquire(ann, record.id, 60)).token != lock.token


async def test_another_users_record_cannot_be_locked(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    record = await cabinet.ann(ann)
    with pytest.raises(NotFoundError):
        await cabinet.locks.acquire(bob, record.id, 60)
    assert (await cabinet.actions(ann))[-1] == ("record.lock", "denied")

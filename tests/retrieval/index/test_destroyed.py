"""A destroyed tenant's index goes with its key, in the same transaction; another's stays."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import Gate, until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.service import Ledger
from undercroft.retrieval.search.models import SearchQuery
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys import destruction as destruction_module
from undercroft.vault.keys.destruction import TenantDestruction
from undercroft.vault.keys.errors import KeyDestroyedError

TABLES = ("chunks", "chunk_embeddings", "term_statistics")


def unheard(done: int, total: int) -> None:
    assert done <= total


def destruction_of(shelf: Shelf, blobs: LocalBlobStore) -> TenantDestruction:
    return TenantDestruction(
        shelf.database, blobs, Ledger(shelf.database, IdSource(), SystemClock())
    )


async def destroy(shelf: Shelf, scope: Member) -> list[tuple[int, int]]:
    """Destroy the scope's tenant; what was heard of its progress."""
    heard: list[tuple[int, int]] = []
    destruction = destruction_of(shelf, LocalBlobStore(shelf.folder / "blobs"))
    await destruction.destroy(scope.tenant_id, lambda done, total: heard.append((done, total)))
    return heard


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    try:
        yield connection
    finally:
        await connection.close()


async def test_no_word_of_a_destroyed_tenant_is_left(shelf: Shelf, make_scope: MakeScope) -> None:
    ann, bob = await make_scope(), await make_scope()
    mine, documents = await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    theirs, _ = await shelf.fill(bob, {"mill.txt": "The mill on the Alder."})
    await destroy(shelf, ann)
    for scope, expected in ((ann, True), (bob, False)):
        async with shelf.database.transaction(scope) as transaction:
            counts = [
                await transaction.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES
            ]
        assert all((count == 0) is expected for count in counts), counts
    for attempt in (
        shelf.documents.read(ann, documents["mill.txt"]),
        shelf.put(ann, "boat.txt", "A ferry."),
    ):
        with pytest.raises(KeyDestroyedError):
            await attempt
    (listed,) = await shelf.documents.list_documents(ann, limit=5)
    assert listed.filename == "(unreadable)"
    await shelf.documents.delete(ann, listed.id)
    assert await shelf.documents.list_documents(ann, limit=5) == []
    assert (await shelf.search.search(ann, SearchQuery((mine,), "mill", 5))).passages == []
    assert len((await shelf.search.search(bob, SearchQuery((theirs,), "mill", 5))).passages) == 1


async def test_an_index_job_in_flight_writes_nothing_back(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    await shelf.collections.create(ann, "papers", {}, [document])
    claim = await shelf.claim(ann)
    assert claim is not None
    gate = shelf.embedder.gate = Gate()
    attempt = asyncio.create_task(shelf.tasks.index_blob(shelf.context(claim)))
    await gate.wait_until_reached()
    await destroy(shelf, ann)
    gate.open()
    await attempt
    async with shelf.database.transaction(ann) as transaction:
        for table in TABLES:
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_an_index_job_that_comes_after_the_destruction_ends(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    await shelf.collections.create(ann, "papers", {}, [document])
    await destroy(shelf, ann)
    await shelf.run_jobs(ann)
    async with shelf.database.transaction(ann) as transaction:
        row = await transaction.fetchrow("SELECT index_state, index_error_code FROM blobs")
    assert row is not None
    assert tuple(row) == ("failed", "key_destroyed")


async def test_a_large_index_is_deleted_in_batches_of_one_transaction(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    await shelf.fill(ann, {f"{number}.txt": f"Mill number {number}." for number in range(5)})
    monkeypatch.setattr(destruction_module, "_BATCH", 2)
    assert await destroy(shelf, ann) == [(2, 5), (4, 5), (5, 5)]
    async with shelf.database.transaction(ann) as transaction:
        for table in (*TABLES, "corpus_statistics"):
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_whatever_destroys_the_key_leaves_no_index(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE tenant_keys SET wrapped_key = NULL")
    async with shelf.database.transaction(ann) as transaction:
        for table in TABLES:
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_delete_at_the_same_time_is_no_deadlock(
    shelf: Shelf, make_scope: MakeScope, owner: AnyConnection
) -> None:
    ann = await make_scope()
    _, documents = await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    # Stops a delete of chunks between the chunks and their statistics.
    await owner.execute(
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;"
        " CREATE TRIGGER a_pause AFTER DELETE ON chunks FOR EACH STATEMENT EXECUTE FUNCTION pause();"
        " SELECT pg_advisory_lock(1)"
    )
    deleting = asyncio.create_task(shelf.documents.delete(ann, documents["mill.txt"]))
    await until_blocked(shelf.database)
    destroying = asyncio.create_task(destroy(shelf, ann))
    await until_blocked(shelf.database, 2)
    await owner.execute("SELECT pg_advisory_unlock(1)")
    await deleting
    await destroying


async def test_a_destroyed_tenants_bytes_go_too_and_an_interruption_is_finished(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    class Interrupted(LocalBlobStore):
        async def delete(self, tenant_id: UUID, name: bytes) -> None:
            raise OSError(f"the disk with {tenant_id}/{name.hex()} is gone")

    ann, bob = await make_scope(), await make_scope()
    await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    await shelf.put(bob, "mill.txt", "The mill on the Alder.")
    assert len(shelf.files()) == 2
    interrupted = destruction_of(shelf, Interrupted(shelf.folder / "blobs"))
    with pytest.raises(OSError, match="disk"):
        await interrupted.destroy(ann.tenant_id, unheard)
    assert len(shelf.files()) == 2
    await destroy(shelf, ann)
    (left,) = shelf.files()
    assert bob.tenant_id.hex in str(left)


async def test_an_index_job_waits_for_the_key_with_no_content_in_hand(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    await shelf.collections.create(ann, "papers", {}, [document])
    claim = await shelf.claim(ann)
    assert claim is not None
    gate = shelf.embedder.gate = Gate()
    attempt = asyncio.create_task(shelf.tasks.index_blob(shelf.context(claim)))
    await gate.wait_until_reached()
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("SELECT FROM tenant_keys FOR UPDATE")
        gate.open()
        await until_blocked(shelf.database)
        # As a destruction does next: it must not have to wait for who waits for it.
        await transaction.execute("SELECT FROM blobs FOR UPDATE NOWAIT")
    await attempt

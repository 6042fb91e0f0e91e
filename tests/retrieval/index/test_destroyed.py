"""A destroyed tenant's index goes with its key, in the same transaction; another's stays."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import Gate
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.ids import IdSource
from undercroft.ledger.keys import LogKeys
from undercroft.retrieval.search.models import SearchQuery
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.rotation import KeyRotation

TABLES = ("chunks", "chunk_embeddings", "term_statistics")


async def test_no_word_of_a_destroyed_tenant_is_left(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann, bob = await make_scope(), await make_scope()
    mine, documents = await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    theirs, _ = await shelf.fill(bob, {"mill.txt": "The mill on the Alder."})
    provider = await KeyFile.open(tmp_path / "provider.key")
    log_keys = LogKeys(shelf.database, provider, "test")
    rotation = KeyRotation(shelf.database, provider, log_keys, IdSource())
    await rotation.destroy_tenant(ann.tenant_id)
    for scope, expected in ((ann, True), (bob, False)):
        async with shelf.database.transaction(scope) as transaction:
            counts = [
                await transaction.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES
            ]
        assert all((count == 0) is expected for count in counts), counts
    for attempt in (
        shelf.documents.read(ann, documents["mill.txt"]),
        shelf.documents.list_documents(ann, limit=5),
        shelf.put(ann, "boat.txt", "A ferry."),
    ):
        with pytest.raises(KeyDestroyedError):
            await attempt
    assert (await shelf.search.search(ann, SearchQuery((mine,), "mill", 5))).passages == []
    assert len((await shelf.search.search(bob, SearchQuery((theirs,), "mill", 5))).passages) == 1


async def test_an_index_job_in_flight_writes_nothing_back(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    await shelf.collections.create(ann, "papers", {}, [document])
    claim = await shelf.claim(ann)
    assert claim is not None
    gate = shelf.embedder.gate = Gate()
    attempt = asyncio.create_task(shelf.tasks.index_blob(shelf.context(claim)))
    await gate.wait_until_reached()
    provider = await KeyFile.open(tmp_path / "provider.key")
    log_keys = LogKeys(shelf.database, provider, "test")
    await KeyRotation(shelf.database, provider, log_keys, IdSource()).destroy_tenant(ann.tenant_id)
    gate.open()
    await attempt
    async with shelf.database.transaction(ann) as transaction:
        for table in TABLES:
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0, table

"""What can be derived again is mended, and nothing else is touched."""

import os
from pathlib import Path

import pytest

from tests.operations.conftest import Filled
from undercroft.kit.sql import AnyConnection
from undercroft.operations.examination.findings import Fault
from undercroft.retrieval.search.models import SearchQuery


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM chunks WHERE id = (SELECT min(id) FROM chunks)",
        "DELETE FROM chunk_embeddings",
        "UPDATE chunks SET sealed_text = sealed_text || '\\x00'",
        "UPDATE blobs SET index_state = 'unindexed'",
        "UPDATE term_statistics SET chunk_count = chunk_count + 1",
        "DELETE FROM term_statistics",
        "DELETE FROM corpus_statistics",
        "UPDATE ledger_tiles SET hash = decode(repeat('00', 32), 'hex')",
        "DELETE FROM ledger_tiles WHERE position = 1",
    ],
)
async def test_what_can_be_derived_is_derived_again(
    filled: Filled, owner: AnyConnection, damage: str
) -> None:
    house, shelf, ann = filled.house, filled.shelf, filled.ann
    if "ledger_tiles" in damage:
        for _ in range(600):
            await shelf.documents.read(ann, filled.documents["mill.txt"])
        await house.sequence(ann.tenant_id)
    question = SearchQuery([filled.collection], "Who moored the boat?", limit=5)
    before = [found.text for found in (await shelf.search.search(ann, question)).passages]
    await owner.execute(damage)
    assert (await house.fsck())[0] != []
    # As the policies stand in a real house: the damage was done past them.
    for table in ("chunks", "blobs", "term_statistics", "corpus_statistics", "ledger_tiles"):
        await owner.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    assert await house.repair() != []
    await shelf.run_jobs(ann)
    assert (await house.fsck())[0] == []
    after = [found.text for found in (await shelf.search.search(ann, question)).passages]
    assert after == before


async def test_an_orphaned_file_is_deleted_once_it_is_old(filled: Filled) -> None:
    kept = next((filled.house.folder / "blobs").rglob("?" * 64))
    stray = kept.with_name(kept.name[:2] + "0" * 62)
    stray.write_bytes(b"left by a crash")
    assert await filled.house.repair() == []
    os.utime(stray, (1_700_000_000, 1_700_000_000))
    assert len(await filled.house.repair()) == 1
    assert not stray.exists()
    assert kept.exists()
    assert (await filled.house.fsck())[0] == []


async def test_what_is_lost_is_left_as_it_is(filled: Filled, owner: AnyConnection) -> None:
    path: Path = next((filled.house.folder / "blobs").rglob("?" * 64))
    path.unlink()
    await owner.execute("UPDATE ledger_entries SET action = 'document.keep' WHERE position = 1")
    assert await filled.house.repair() == []
    found, _ = await filled.house.fsck()
    assert {finding.fault for finding in found} == {Fault.FILE_MISSING, Fault.LEDGER_ENTRY_ALTERED}

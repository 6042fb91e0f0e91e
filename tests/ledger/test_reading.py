"""What a log publishes holds together: held by the verifier, which shares no code with what writes it."""

import asyncio
import base64
import json
from uuid import uuid4

import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act, make_parts
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.ledger.errors import NotYetSequencedError
from undercroft.ledger.merkle import hash_children, hash_leaf
from undercroft.ledger.models import LogDescription
from undercroft.ledger.tiles import Tile, bundle
from undercroft.ledger.verification.entries import split_bundle
from undercroft.ledger.verification.notes import check_signature, parse_checkpoint, parse_key
from undercroft.ledger.verification.proofs import check_proof


async def fill(parts: Parts, database: Database, member: Member, count: int) -> list[bytes]:
    """Put entries into the log; all its leaves."""
    async with database.transaction(member) as transaction:
        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            await parts.ledger.append(transaction, member, *map(act, numbers))
    while await parts.sequencer.sequence(member.tenant_id):
        pass
    async with database.transaction(member) as transaction:
        rows = await transaction.fetch("SELECT leaf FROM ledger_entries ORDER BY position")
    return [row["leaf"] for row in rows]


async def test_tiles_and_bundles_are_the_logs_entries(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    leaves = await fill(parts, database, member, 700)
    log = await parts.reader.describe(member)
    assert log.size == 700
    for tile in (Tile(0, 256), Tile(1, 256), Tile(2, 188), Tile(2, 5)):
        mine = leaves[tile.start : tile.end]
        assert await parts.reader.read_entries(member, log.id, tile) == bundle(mine)
        assert split_bundle(bundle(mine), 256) == (mine, 0)
        hashes = b"".join(map(hash_leaf, mine))
        assert await parts.reader.read_tile(member, log.id, 0, tile) == hashes
    level_one = await parts.reader.read_tile(member, log.id, 1, Tile(0, 2))
    level = [hash_leaf(leaf) for leaf in leaves[:256]]
    while len(level) > 1:
        level = [hash_children(*level[at : at + 2]) for at in range(0, len(level), 2)]
    assert level_one[:32] == level[0]
    for level_number, tile in (
        (0, Tile(2, 189)),
        (0, Tile(2, 256)),
        (1, Tile(0, 3)),
        (8, Tile(0, 1)),
        (63, Tile(0, 1)),
    ):
        with pytest.raises(NotFoundError):
            await parts.reader.read_tile(member, log.id, level_number, tile)
    with pytest.raises(NotFoundError):
        await parts.reader.read_entries(member, log.id, Tile(2, 189))


async def test_each_proof_convinces_the_independent_verifier(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    leaves = await fill(parts, database, member, 300)
    log = await parts.reader.describe(member)
    key = parse_key(log.verifier_keys[0])
    for index in (0, 1, 255, 256, 299):
        entry_id = json.loads(leaves[index])["id"].removeprefix("entry_")
        async with database.transaction(member) as transaction:
            found = await transaction.fetchval(
                "SELECT id FROM ledger_entries WHERE position = $1", index
            )
        assert found.hex == entry_id
        proof = await parts.reader.prove_entry(member, found, member.principal_id)
        proved = check_proof(proof.encode(), leaves[index], [key], log.id.hex)
        assert proved.entry.id == f"entry_{entry_id}"


async def test_proofs_for_trees_of_the_past(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    await fill(parts, database, member, 5)
    assert await parts.reader.prove_consistency(member, 2, None) == (
        5,
        (await parts.reader.prove_consistency(member, 2, 5))[1],
    )
    size, path = await parts.reader.prove_inclusion(member, 1, 2)
    assert (size, len(path)) == (2, 1)
    for index, wanted, param in (
        (5, None, "index"),
        (2, 2, "index"),
        (0, 6, "size"),
        (0, 0, "index"),
    ):
        with pytest.raises(InvalidRequestError) as refused:
            await parts.reader.prove_inclusion(member, index, wanted)
        assert refused.value.param == param
    for old, wanted, param in ((6, None, "from"), (3, 2, "from"), (0, 6, "to")):
        with pytest.raises(InvalidRequestError) as refused:
            await parts.reader.prove_consistency(member, old, wanted)
        assert refused.value.param == param


async def test_a_new_log_is_signed_when_it_is_asked_for(
    parts: Parts, make_scope: MakeScope
) -> None:
    member = await make_scope()
    log = await parts.reader.describe(member)
    assert (log.size, log.origin) == (0, f"undercroft.local/ledger/{log.id.hex}")
    checkpoint = parse_checkpoint((await parts.reader.find_checkpoint(log.id)).encode())
    check_signature(checkpoint, [parse_key(log.verifier_keys[0])])
    assert checkpoint.size == 0


async def test_two_processes_that_make_the_first_key_end_with_one(
    database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    logs: list[LogDescription] = await asyncio.gather(
        *(make_parts(database).reader.describe(member) for _ in range(4))
    )
    assert len({log.verifier_keys for log in logs}) == 1


async def test_another_tenant_reads_nothing_of_a_log_but_its_checkpoint(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member, stranger = await make_scope(), await make_scope()
    await fill(parts, database, member, 3)
    log = await parts.reader.describe(member)
    assert (await parts.reader.describe(stranger)).id != log.id
    with pytest.raises(NotFoundError):
        await parts.reader.read_entries(stranger, log.id, Tile(0, 3))
    with pytest.raises(NotFoundError):
        await parts.reader.read_tile(stranger, log.id, 0, Tile(0, 3))
    async with database.transaction(member) as transaction:
        entry_id = await transaction.fetchval("SELECT id FROM ledger_entries LIMIT 1")
    with pytest.raises(NotFoundError):
        await parts.reader.prove_entry(stranger, entry_id, None)
    async with database.transaction(stranger) as transaction:
        for table in ("logs", "keys", "pending", "entries", "tiles"):
            count = await transaction.fetchval(
                f"SELECT count(*) FROM ledger_{table} WHERE tenant_id = $1", member.tenant_id
            )
            assert count == 0, table
    with pytest.raises(NotFoundError):
        await parts.reader.find_checkpoint(uuid4())


async def test_a_proof_waits_for_its_entrys_number_and_not_for_ever(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    async with database.transaction(member) as transaction:
        (entry_id,) = await parts.ledger.append(transaction, member, act(1))
    with pytest.raises(NotYetSequencedError) as refused:
        await parts.reader.prove_entry(member, entry_id, member.principal_id)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    waiting = asyncio.create_task(parts.reader.prove_entry(member, entry_id, None))
    running = asyncio.create_task(parts.sequencer.run())
    assert (await waiting).startswith("c2sp.org/tlog-proof@v1\nindex 0\n")
    running.cancel()
    await asyncio.wait([running])
    with pytest.raises(NotFoundError):
        await parts.reader.prove_entry(member, uuid4(), None)


async def test_a_rotated_log_is_signed_by_the_new_key_and_the_one_before(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    other = make_parts(database)
    await fill(other, database, member, 2)
    (first,) = (await other.reader.describe(member)).verifier_keys
    await parts.rotation.rotate(member.tenant_id)
    log = await parts.reader.describe(member)
    assert log.verifier_keys[1:] == (first,)
    await parts.rotation.rotate(member.tenant_id)
    last = await parts.reader.describe(member)
    assert last.verifier_keys[1] == log.verifier_keys[0]

    async def signing() -> set[str]:
        text = await parts.reader.find_checkpoint(log.id)
        assert text.count("\n— ") == 2
        found: set[str] = set()
        for key in {first, *log.verifier_keys, *last.verifier_keys}:
            identity = base64.b64encode(bytes.fromhex(key.split("+")[1])).decode()[:5]
            if any(line.split(" ")[-1].startswith(identity) for line in text.splitlines()):
                check_signature(parse_checkpoint(text.encode()), [parse_key(key)])
                found.add(key)
        return found

    assert await signing() == set(last.verifier_keys)
    # The process that does not know yet finds out before it signs.
    await fill(other, database, member, 1)
    assert await signing() == set(last.verifier_keys)


async def test_two_rotations_at_once_are_two_rotations(
    database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    both = [make_parts(database), make_parts(database)]
    await asyncio.gather(*(parts.rotation.rotate(member.tenant_id) for parts in both))
    async with database.transaction(member) as transaction:
        rows = await transaction.fetch(
            "SELECT number, retired_at IS NULL AS signs FROM ledger_keys ORDER BY number"
        )
    assert [tuple(row) for row in rows] == [(1, False), (2, True), (3, True)]

"""The service's own log, mirrored as a tenant would, before a verifier that shares no code with it."""

from pathlib import Path
from typing import Final
from uuid import UUID

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act
from tests.ledger.mirror import tile_name
from undercroft.kit.database import Database
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.models import Outcome
from undercroft.ledger.tiles import Tile
from undercroft.ledger.verification.findings import Fault, Span
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.report import Report
from undercroft.ledger.verification.verify import verify_path

FIRST: Final = 300
SECOND: Final = 350


async def grow(parts: Parts, database: Database, member: Member, count: int) -> list[str]:
    """Append so many acts of every shape, and have them numbered."""
    acts = [
        act(
            number,
            owner_id=member.principal_id,
            version=number % 3 or None,
            outcome=Outcome.DENIED if number % 80 == 0 else Outcome.ALLOWED,
            grant_id=member.tenant_id if number % 2 else None,
            purpose="audit" if number % 4 == 0 else None,
            on_behalf_of=member.principal_id if number % 7 == 0 else None,
            content=bytes(32) if number % 11 == 0 else None,
        )
        for number in range(count)
    ]
    async with database.transaction(member) as transaction:
        ids = await parts.ledger.append(transaction, member, *acts)
    while await parts.sequencer.sequence_all():
        pass
    return [f"entry_{entry.hex}" for entry in ids]


async def mirror(parts: Parts, member: Member, folder: Path) -> Path:
    """Every file of the log, at the paths that its specification derives from the size."""
    log = await parts.reader.describe(member)
    files = {"checkpoint": (await parts.reader.find_checkpoint(log.id)).encode()}
    level, size = 0, log.size
    while size:
        for index, start in enumerate(range(0, size, 256)):
            tile = Tile(index, min(256, size - start))
            name = tile_name(index) + ("" if tile.width == 256 else f".p/{tile.width}")
            files[f"tile/{level}/{name}"] = await parts.reader.read_tile(
                member, log.id, level, tile
            )
            if level == 0:
                entries = await parts.reader.read_entries(member, log.id, tile)
                files[f"tile/entries/{name}"] = entries
        level, size = level + 1, size // 256
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


async def check(parts: Parts, member: Member, path: Path, since: Path | None = None) -> Report:
    keys = (await parts.reader.describe(member)).verifier_keys
    return verify_path(path, [parse_key(key) for key in keys], since=since)


async def test_a_mirrored_log_is_good_and_continues_what_was_mirrored_before(
    parts: Parts, database: Database, make_scope: MakeScope, tmp_path: Path
) -> None:
    member = await make_scope()
    await grow(parts, database, member, FIRST)
    before = await mirror(parts, member, tmp_path / "before")
    assert (await check(parts, member, before)).good
    await grow(parts, database, member, SECOND)
    after = await mirror(parts, member, tmp_path / "after")
    report = await check(parts, member, after, before / "checkpoint")
    assert report.good, report.to_text()
    assert report.checkpoint is not None
    assert report.checkpoint.size == FIRST + SECOND
    back = await check(parts, member, before, after / "checkpoint")
    assert back.first_bad == Span(FIRST, FIRST + SECOND - 1)


async def test_the_keys_after_a_rotation_verify_both_mirrors(
    parts: Parts, database: Database, make_scope: MakeScope, tmp_path: Path
) -> None:
    member = await make_scope()
    await grow(parts, database, member, 3)
    before = await mirror(parts, member, tmp_path / "before")
    old = (await parts.reader.describe(member)).verifier_keys
    await parts.rotation.rotate(member.tenant_id)
    await grow(parts, database, member, 3)
    after = await mirror(parts, member, tmp_path / "after")
    new = (await parts.reader.describe(member)).verifier_keys
    keys = [parse_key(key) for key in dict.fromkeys([*new, *old])]
    assert len(keys) == 2
    assert verify_path(after, keys, since=before / "checkpoint").good


async def test_the_proof_of_each_entry_is_good(
    parts: Parts, database: Database, make_scope: MakeScope, tmp_path: Path
) -> None:
    member = await make_scope()
    ids = await grow(parts, database, member, 20)
    log = await parts.reader.describe(member)
    keys = [parse_key(key) for key in log.verifier_keys]
    for name in ids:
        identifier = UUID(name.removeprefix("entry_"))
        _, leaf = await parts.reader.wait_for_entry(member, identifier, None)
        proof, entry = tmp_path / "a.tlog-proof", tmp_path / "a.json"
        proof.write_text(await parts.reader.prove_entry(member, identifier, None))
        entry.write_bytes(leaf)
        assert verify_path(proof, keys, entry=entry).good


async def test_what_the_databases_owner_alters_is_found(
    parts: Parts,
    database: Database,
    make_scope: MakeScope,
    owner: AnyConnection,
    tmp_path: Path,
) -> None:
    member = await make_scope()
    await grow(parts, database, member, FIRST)
    before = await mirror(parts, member, tmp_path / "before")
    await grow(parts, database, member, SECOND)
    await owner.execute("ALTER TABLE ledger_entries DISABLE TRIGGER ALL")
    await owner.execute(
        """
        UPDATE ledger_entries SET leaf = convert_to(
            replace(convert_from(leaf, 'UTF8'), '"allowed"', '"denied"'), 'UTF8')
        WHERE tenant_id = $1 AND position = 17
        """,
        member.tenant_id,
    )
    # The service makes tiles of level 0 from the entries, so that only what is above them can differ.
    after = await mirror(parts, member, tmp_path / "after")
    report = await check(parts, member, after, before / "checkpoint")
    assert {Fault.ROOT_MISMATCH, Fault.TILE_MISMATCH} == set(report.counts)
    assert report.first_bad == Span(0, 255)
    assert (await check(parts, member, after, before)).first_bad == Span(17, 17)

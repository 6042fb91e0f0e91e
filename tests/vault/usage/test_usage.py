"""Quotas hold, also for two that come at once; a deletion makes room again."""

import asyncio
import io
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import SteppedDatabase, until_blocked
from tests.vault.uploads.bench import Bench, make_bench
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.intake import Received
from undercroft.vault.usage.errors import QuotaExceededError
from undercroft.vault.usage.models import Quotas, Usage

SIXTY = b"a" * 60
OTHER_SIXTY = b"b" * 60


@pytest.fixture
async def stepped(database_urls: DatabaseUrls) -> AsyncGenerator[SteppedDatabase]:
    async with SteppedDatabase(database_urls.service, clock=SystemClock(), size=8) as opened:
        yield opened


async def put(bench: Bench, scope: Member, content: bytes) -> None:
    await bench.documents.import_file(scope, io.BytesIO(content), "a.txt", "user_data")


async def arrived(bench: Bench, scope: Member, content: bytes) -> Received:
    """A content that was received and that no row names yet."""
    intake = bench.documents._intake
    return await intake.receive(await intake.read(scope, io.BytesIO(content)), "a.txt")


async def test_what_is_kept_is_counted_as_it_is_stored(
    stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    bench = await make_bench(stepped, tmp_path)
    ann = await make_scope()
    bob, zoe = await make_scope(ann.tenant_id), await make_scope()
    assert await bench.usage.read(ann) == Usage(0, 0)
    await put(bench, ann, SIXTY)
    await put(bench, ann, SIXTY)
    await put(bench, bob, SIXTY)
    assert await bench.usage.read(ann) == Usage(120, 60)
    upload, ids = await bench.begin(ann, [b"c" * 10, b"d" * 5])
    assert await bench.usage.read(ann) == Usage(135, 75)
    await bench.uploads.complete(ann, upload.id, ids)
    assert await bench.usage.read(bob) == Usage(135, 60)
    assert await bench.usage.read(zoe) == Usage(0, 0)


async def test_a_deletion_makes_room(
    stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    bench = await make_bench(stepped, tmp_path, Quotas(user_bytes=100))
    ann = await make_scope()
    await put(bench, ann, SIXTY)
    with pytest.raises(QuotaExceededError, match="your quota: 60 of 100"):
        await put(bench, ann, OTHER_SIXTY)
    assert len(bench.files()) == 1
    await put(bench, ann, SIXTY)  # is kept already
    for document in await bench.documents.list_documents(ann, limit=10):
        await bench.documents.delete(ann, document.id)
    await put(bench, ann, OTHER_SIXTY)
    assert await bench.usage.read(ann) == Usage(60, 60)


@pytest.mark.parametrize("quotas", [Quotas(user_bytes=100), Quotas(tenant_bytes=100)])
async def test_of_two_that_fit_alone_and_not_together_one_is_refused(
    stepped: SteppedDatabase,
    database: Database,
    make_scope: MakeScope,
    tmp_path: Path,
    quotas: Quotas,
) -> None:
    bench = await make_bench(stepped, tmp_path, quotas)
    ann = await make_scope()
    # A colleague, where it is the tenant's quota that both share.
    other = ann if quotas.user_bytes else await make_scope(ann.tenant_id)
    first = await arrived(bench, ann, SIXTY)
    intake = bench.documents._intake
    async with (
        intake.keep(ann, first.staged) as kept,
        stepped.transaction(ann) as transaction,
    ):
        document = await bench.documents.add(transaction, ann, first, "a.txt", "user_data")
        await intake.settle(transaction, kept, first, document.blob_id)
        second = asyncio.create_task(put(bench, other, OTHER_SIXTY))
        await until_blocked(database)
    with pytest.raises(QuotaExceededError):
        await second
    assert (await bench.usage.read(ann)).tenant_bytes == 60
    assert len(bench.files()) == 1


async def test_another_users_upload_waits_for_nothing_but_the_count(
    stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    bench = await make_bench(stepped, tmp_path, Quotas(tenant_bytes=1000))
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    await put(bench, ann, b"first")  # so that the tenant has its lookup key
    first = await arrived(bench, ann, SIXTY)
    intake = bench.documents._intake
    async with (
        intake.keep(ann, first.staged) as kept,
        stepped.transaction(ann) as transaction,
    ):
        document = await bench.documents.add(transaction, ann, first, "a.txt", "user_data")
        await asyncio.wait_for(put(bench, bob, OTHER_SIXTY), 20)
        await intake.settle(transaction, kept, first, document.blob_id)
    assert await bench.usage.read(bob) == Usage(125, 60)


async def test_an_upload_that_cannot_fit_is_refused_before_it_comes(
    stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    bench = await make_bench(stepped, tmp_path, Quotas(user_bytes=100))
    ann = await make_scope()
    with pytest.raises(QuotaExceededError):
        await bench.uploads.create(ann, "a.txt", "user_data", 101)
    upload, ids = await bench.begin(ann, [SIXTY])
    with pytest.raises(QuotaExceededError):
        await bench.add(ann, upload.id, OTHER_SIXTY)
    assert await bench.usage.read(ann) == Usage(60, 60)
    assert (await bench.uploads.complete(ann, upload.id, ids)).document is not None


async def test_a_full_upload_can_be_completed(
    stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    bench = await make_bench(stepped, tmp_path, Quotas(user_bytes=60))
    ann = await make_scope()
    upload, ids = await bench.begin(ann, [SIXTY])
    assert (await bench.uploads.complete(ann, upload.id, ids)).document is not None
    assert await bench.usage.read(ann) == Usage(60, 60)


async def test_nobody_can_write_the_counts(
    stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    bench = await make_bench(stepped, tmp_path)
    ann = await make_scope()
    await put(bench, ann, SIXTY)
    for statement in ("UPDATE user_usage SET byte_size = 0", "DELETE FROM tenant_usage"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await bench.value(ann, statement)

"""Parts go in, one document comes out; what is not that document leaves nothing behind."""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from asyncpg import Record

from tests.conftest import MakeScope
from tests.stepping import SteppedDatabase, until_blocked
from tests.vault.uploads.bench import LIMIT, Bench, make_bench
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.errors import TooLargeError
from undercroft.vault.uploads.errors import (
    ChecksumMismatchError,
    SizeMismatchError,
    TooManyPartsError,
    UnknownPartError,
    UploadClosedError,
)
from undercroft.vault.uploads.models import UploadState
from undercroft.vault.uploads.repository import UploadRepository
from undercroft.vault.usage.models import Usage

PARTS = [b"The mill has stood empty ", b"since 1921", b"."]
CONTENT = b"".join(PARTS)
REPOSITORY = UploadRepository()


async def test_the_order_is_that_of_completion(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, [PARTS[2], PARTS[0], PARTS[1]])
    assert upload.state is UploadState.PENDING
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).digest()
    done = await bench.uploads.complete(ann, upload.id, [ids[1], ids[2], ids[0]], md5)
    assert done.state is UploadState.COMPLETED
    assert done.document is not None
    assert (done.document.filename, done.document.purpose) == ("mill.txt", "user_data")
    assert await bench.read(ann, done.document.id) == CONTENT
    assert len(bench.files()) == 1, "the parts are gone"
    assert await bench.value(ann, "SELECT count(*) FROM upload_parts") == 0
    assert await bench.actions(ann) == [
        "upload.create allowed",
        *["upload.add_part allowed"] * 3,
        "document.create allowed",
        "upload.complete allowed",
        "document.read allowed",
    ]


async def test_no_part_is_readable_in_the_store(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    await bench.begin(ann, PARTS)
    assert len(bench.files()) == len(PARTS)
    assert not any(b"mill" in path.read_bytes() for path in bench.files())


async def test_parts_outlive_the_service(
    bench: Bench, stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    upload = await bench.uploads.create(ann, "mill.txt", "user_data", len(CONTENT))
    ids = [await bench.add(ann, upload.id, part) for part in PARTS[:2]]
    again = await make_bench(stepped, tmp_path)
    ids.append(await again.add(ann, upload.id, PARTS[2]))
    done = await again.uploads.complete(ann, upload.id, ids)
    assert done.document is not None
    assert await again.read(ann, done.document.id) == CONTENT


async def test_a_second_completion_answers_the_first_ones_document(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    first = await bench.uploads.complete(ann, upload.id, ids)
    assert await bench.uploads.complete(ann, upload.id, ids) == first
    assert await bench.value(ann, "SELECT count(*) FROM documents") == 1


async def test_of_two_completions_at_once_one_makes_the_document(
    bench: Bench, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    async with bench.database.transaction(ann) as transaction:
        await REPOSITORY.lock_upload(transaction, upload.id)
        both = [asyncio.create_task(bench.uploads.complete(ann, upload.id, ids)) for _ in range(2)]
        await until_blocked(observer, 2)
    first, second = await asyncio.gather(*both)
    assert first == second
    assert first.document is not None
    assert await bench.value(ann, "SELECT count(*) FROM documents") == 1
    assert await bench.read(ann, first.document.id) == CONTENT
    assert len(bench.files()) == 1


async def test_whoever_finds_the_parts_gone_answers_what_the_faster_one_made(
    bench: Bench, stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)

    class Late(LocalBlobStore):
        """Completes the upload elsewhere before the first part is read here."""

        async def read(self, tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
            await bench.uploads.complete(ann, upload.id, ids)
            return await super().read(tenant_id, name, start, length)

    late = await make_bench(stepped, tmp_path)
    late.uploads._parts._blobs = Late(tmp_path / "blobs")
    done = await late.uploads.complete(ann, upload.id, ids)
    assert done == await bench.uploads.complete(ann, upload.id, ids)
    assert len(bench.files()) == 1


async def test_whoever_finds_no_part_any_more_answers_what_the_faster_one_made(
    bench: Bench, stepped: SteppedDatabase, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)

    class Late(UploadRepository):
        """Completes the upload elsewhere before its parts are listed here."""

        async def list_parts(
            self, transaction: Transaction, upload_id: UUID, part_ids: Sequence[UUID]
        ) -> dict[UUID, Record]:
            await bench.uploads.complete(ann, upload_id, ids)
            return await super().list_parts(transaction, upload_id, part_ids)

    late = await make_bench(stepped, tmp_path)
    late.uploads._repository = Late()
    done = await late.uploads.complete(ann, upload.id, ids)
    assert done == await bench.uploads.complete(ann, upload.id, ids)


async def test_a_completion_that_comes_after_a_cancellation_is_refused(
    bench: Bench, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    async with bench.database.transaction(ann) as transaction:
        await REPOSITORY.lock_upload(transaction, upload.id)
        completing = asyncio.create_task(bench.uploads.complete(ann, upload.id, ids))
        await until_blocked(observer)
        await REPOSITORY.cancel_upload(transaction, upload.id)
    with pytest.raises(UploadClosedError, match="cancelled"):
        await completing
    assert await bench.value(ann, "SELECT count(*) FROM documents") == 0


async def test_a_cancellation_that_comes_after_a_completion_is_refused(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    await bench.uploads.complete(ann, upload.id, ids)
    with pytest.raises(UploadClosedError, match="completed"):
        await bench.uploads.cancel(ann, upload.id)
    with pytest.raises(UploadClosedError, match="completed"):
        await bench.add(ann, upload.id, b"more")


async def test_cancelling_deletes_the_parts_and_may_be_repeated(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    assert (await bench.uploads.cancel(ann, upload.id)).state is UploadState.CANCELLED
    assert (await bench.uploads.cancel(ann, upload.id)).state is UploadState.CANCELLED
    assert bench.files() == []
    assert await bench.usage.read(ann) == Usage(0, 0)
    with pytest.raises(UploadClosedError, match="cancelled"):
        await bench.uploads.complete(ann, upload.id, ids)
    assert (await bench.actions(ann)).count("upload.cancel allowed") == 1


async def test_what_does_not_make_up_the_file_is_refused_and_can_be_mended(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    _, foreign = await bench.begin(ann, PARTS)
    complete = bench.uploads.complete
    with pytest.raises(SizeMismatchError, match="35 bytes together, but 36"):
        await complete(ann, upload.id, ids[:2])
    with pytest.raises(UnknownPartError):
        await complete(ann, upload.id, [*ids[:2], foreign[2]])
    with pytest.raises(UnknownPartError):
        await complete(ann, upload.id, [*ids, ids[0]])
    with pytest.raises(ChecksumMismatchError):
        await complete(ann, upload.id, ids, bytes(16))
    assert await bench.value(ann, "SELECT count(*) FROM documents") == 0
    assert (await complete(ann, upload.id, ids)).document is not None


async def test_a_content_that_cannot_be_read_is_refused_and_nothing_is_lost(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, [b"\x89PNG\r\n\x1a\n\0\0"])
    with pytest.raises(UndercroftError, match="PNG"):
        await bench.uploads.complete(ann, upload.id, ids)
    assert len(bench.files()) == 1


async def test_more_than_could_be_needed_is_refused(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    with pytest.raises(TooLargeError):
        await bench.uploads.create(ann, "mill.txt", "user_data", LIMIT + 1)
    upload, _ = await bench.begin(ann, [CONTENT])
    await bench.add(ann, upload.id, CONTENT)  # again: its answer may have been lost
    with pytest.raises(TooManyPartsError):
        await bench.add(ann, upload.id, b"a")
    assert len(bench.files()) == 2


async def test_anothers_upload_is_not_there_and_the_denial_is_on_record(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    upload, ids = await bench.begin(ann, PARTS)
    for refused in (
        bench.add(bob, upload.id, b"mine"),
        bench.uploads.complete(bob, upload.id, ids),
        bench.uploads.cancel(bob, upload.id),
    ):
        with pytest.raises(NotFoundError):
            await refused
    denied = [action for action in await bench.actions(ann) if action.endswith("denied")]
    assert denied == ["upload.add_part denied", "upload.complete denied", "upload.cancel denied"]


async def test_a_large_file_comes_out_as_it_went_in(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    draw = random.Random(1)
    parts = [
        draw.randbytes(size // 2).hex().encode()
        for size in (1_500_000, 65_536, 2, 65_496, 3_000_000)
    ]
    upload, ids = await bench.begin(ann, parts)
    done = await bench.uploads.complete(ann, upload.id, ids)
    assert done.document is not None
    assert await bench.read(ann, done.document.id) == b"".join(parts)

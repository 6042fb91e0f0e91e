"""An upload is forgotten when its time is over, whatever became of it, and nothing that it was made into."""

import pytest

from tests.conftest import MakeScope
from tests.owner import past_policies
from tests.vault.uploads.bench import Bench
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.uploads.errors import UploadClosedError
from undercroft.vault.usage.models import Usage

PARTS = [b"The mill has stood ", b"empty since 1921."]


async def let_time_pass(urls: DatabaseUrls) -> None:
    """Have the time of every upload be over."""
    async with past_policies(urls, "uploads") as owner:
        await owner.execute("UPDATE uploads SET expires_at = now()")


async def test_what_waited_for_parts_goes_with_them(
    bench: Bench, database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    await let_time_pass(database_urls)
    with pytest.raises(UploadClosedError, match="expired"):
        await bench.uploads.complete(ann, upload.id, ids)
    with pytest.raises(UploadClosedError, match="expired"):
        await bench.add(ann, upload.id, b"late")
    with pytest.raises(UploadClosedError, match="expired"):
        await bench.uploads.cancel(ann, upload.id)
    await bench.run_expiry(ann, database)
    assert bench.files() == []
    assert await bench.usage.read(ann) == Usage(0, 0)
    # The tenant's lookup key, which digests need, is not there: nothing was ever completed.
    assert await bench.value(ann, "SELECT count(*) FROM data_keys") == 0
    assert (await bench.actions(ann))[-1] == "upload.expire allowed"
    with pytest.raises(NotFoundError):
        await bench.uploads.complete(ann, upload.id, ids)


async def test_what_was_completed_stays(
    bench: Bench, database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    done = await bench.uploads.complete(ann, upload.id, ids)
    await let_time_pass(database_urls)
    await bench.run_expiry(ann, database)
    assert done.document is not None
    assert await bench.read(ann, done.document.id) == b"".join(PARTS)
    assert await bench.value(ann, "SELECT count(*) FROM uploads") == 0
    assert "upload.expire allowed" not in await bench.actions(ann)


async def test_a_job_that_comes_too_early_does_nothing(
    bench: Bench, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    await bench.run_expiry(ann, database)
    assert (await bench.uploads.complete(ann, upload.id, ids)).document is not None


async def test_it_goes_with_its_document(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    upload, ids = await bench.begin(ann, PARTS)
    done = await bench.uploads.complete(ann, upload.id, ids)
    assert done.document is not None
    await bench.documents.delete(ann, done.document.id)
    with pytest.raises(NotFoundError):
        await bench.uploads.complete(ann, upload.id, ids)
    assert bench.files() == []

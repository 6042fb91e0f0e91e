"""A database of an evaluation's own, thrown away at its end, and what indexes a corpus into it.

The database and the blobs are in a folder of their own below the data folder, named by what is evaluated, so neither
a service nor another evaluation is in the way. It is deleted at the end; after an interruption it stays, and the same
command continues there.
"""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from undercroft import __version__
from undercroft.commands.databases import bring_up_to_date
from undercroft.commands.worker.wiring import open_worker
from undercroft.evaluation.ingest import Corpus, CorpusLoader, Ingestion
from undercroft.evaluation.progress import ProgressReport
from undercroft.identity.service import IdentityService
from undercroft.jobs.service import JobQueue, JobService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import EmbeddedPostgres
from undercroft.kit.scope import Scope
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.models import configured_model
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.intake import Intake
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService

_FOLDER: Final = "evaluation"
_NAME_DIGITS: Final = 16
_TENANT: Final = "evaluation"
_USER: Final = "evaluation@localhost"


def own_settings(settings: Settings, digest: str) -> Settings:
    """With a data folder for this collection, and for what its index depends on: an index must not be half of each."""
    identity = "\0".join((digest, configured_model(settings).name, __version__))
    name = hashlib.sha256(identity.encode()).hexdigest()[:_NAME_DIGITS]
    changes = {
        "data_dir": settings.data_dir / _FOLDER / name,
        "database_url": None,
        "migration_url": None,
        "blob_store_url": None,
        # Not the service's: the folder of this one is deleted with the database.
        "key_provider": "file",
        "key_file": None,
        "kms_key_id": None,
    }
    return settings.model_copy(update=changes)


@asynccontextmanager
async def throw_away_database(settings: Settings) -> AsyncGenerator[str]:
    """The service's login of a database that is deleted on success and kept on failure."""
    server = EmbeddedPostgres(settings.data_dir, clock=SystemClock())
    async with server as urls:
        await bring_up_to_date(urls, settings)
        yield urls.service
        # The database after its blobs: without them it still has all that a run interrupted here would need. The key
        # last: no run could open a database without it.
        for folder in (settings.blobs_dir, settings.staging_dir):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await server.erase()
        await asyncio.to_thread(shutil.rmtree, settings.key_path.parent, ignore_errors=True)
    # Not when a second command has begun there since.
    with suppress(OSError):
        settings.data_dir.rmdir()


async def provision_user(database: Database) -> Scope:
    """The user that the corpus belongs to."""
    clock = SystemClock()
    # The key is forgotten at once: provisioning a user is what issuing one does.
    ids = IdSource(clock)
    ledger = Ledger(database, ids, clock)
    issued = await IdentityService(database, ledger, ids, clock).issue_key(_TENANT, _USER)
    return issued.principal


async def ingest_corpus(
    settings: Settings,
    url: str,
    database: Database,
    keys: KeyRing,
    scope: Scope,
    corpus: Corpus,
    progress: ProgressReport,
) -> Ingestion:
    """Take a corpus in and have it indexed."""
    ids = IdSource()
    blobs, staging = open_blob_store(settings), Staging(settings.staging_dir, ids)
    usage = UsageService(database, Quotas())
    intake = Intake(blobs, staging, keys, usage, ids, detect_media_type, settings.max_upload_bytes)
    ledger = Ledger(database, ids, SystemClock())
    loader = CorpusLoader(
        DocumentService(database, blobs, intake, keys, ledger, ids),
        CollectionService(database, keys, ledger, ids, IndexService(JobQueue(ids))),
        JobService(database),
        SystemClock(),
        progress,
    )
    async with _running_worker(settings, url) as worker:
        return await loader.load(scope, corpus, worker)


@asynccontextmanager
async def _running_worker(settings: Settings, url: str) -> AsyncGenerator[asyncio.Task[None]]:
    async with AsyncExitStack() as stack:
        worker = await open_worker(stack, settings, url)
        running = asyncio.create_task(worker.run())
        try:
            yield running
        finally:
            await worker.stop()
            await running

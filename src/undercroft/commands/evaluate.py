"""``undercroft eval``: a BEIR collection through the real pipeline, in a database that is thrown away afterwards.

The database and the blobs are in a folder of their own below the data folder, named by what is evaluated, so neither
a service nor another evaluation is in the way. It is deleted at the end; after an interruption it stays, and the same
command continues there.
"""

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from undercroft import __version__
from undercroft.commands.databases import bring_up_to_date, database_pool
from undercroft.commands.worker import open_worker
from undercroft.evaluation.beir import BeirCollection, read_beir
from undercroft.evaluation.ingest import Corpus, CorpusLoader, Ingestion, prepare_corpus
from undercroft.evaluation.measure import Evaluator
from undercroft.evaluation.progress import ProgressReport, show_progress
from undercroft.evaluation.report import Header, render_report, render_table
from undercroft.identity.service import IdentityService
from undercroft.jobs.service import JobQueue, JobService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Scope
from undercroft.kit.egress import open_client
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import EmbeddedPostgres
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.embedding.models import configured_model
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.retrieval.search.service import SearchService
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.intake import Intake
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService

_FOLDER: Final = "evaluation"
_NAME_DIGITS: Final = 16
_TENANT: Final = "evaluation"
_USER: Final = "evaluation@localhost"
_POOL: Final = 4


async def evaluate_beir(settings: Settings, folder: Path, *, as_json: bool) -> str:
    """Measure the lexical and the vector leg and both fused on a test collection.

    Args:
        settings: The service's settings. An external database in them is left alone.
        folder: In BEIR's layout.
        as_json: Whether to answer JSON, not a table.

    Returns:
        The report.

    Raises:
        BeirError: When the folder is not such a collection.
        DataFolderInUseError: When the same collection is being evaluated there already.
        PostgresStartError: When the embedded server cannot be started.
        UnavailableError: When indexing or a leg of the search stops.
    """
    beir = await asyncio.to_thread(read_beir, folder)
    corpus = await asyncio.to_thread(prepare_corpus, beir.documents)
    own = _own_settings(settings, beir)
    with show_progress(SystemClock()) as progress:
        async with (
            _throw_away_database(own) as url,
            database_pool(own, url, _POOL) as database,
            open_key_provider(own, database) as provider,
        ):
            keys = KeyRing(provider, IdSource())
            scope = await _provision_user(database)
            ingestion = await _ingest(own, url, database, keys, scope, corpus, progress)
            return await _measure(
                own, database, keys, scope, beir, corpus, ingestion, progress, as_json
            )


def _own_settings(settings: Settings, beir: BeirCollection) -> Settings:
    """With a data folder for this collection, and for what its index depends on: an index must not be half of each."""
    identity = "\0".join((beir.digest, configured_model(settings).name, __version__))
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
async def _throw_away_database(settings: Settings) -> AsyncGenerator[str]:
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


async def _provision_user(database: Database) -> Scope:
    clock = SystemClock()
    # The key is forgotten at once: provisioning a user is what issuing one does.
    ids = IdSource(clock)
    ledger = Ledger(database, ids, clock)
    issued = await IdentityService(database, ledger, ids, clock).issue_key(_TENANT, _USER)
    return issued.principal


async def _ingest(
    settings: Settings,
    url: str,
    database: Database,
    keys: KeyRing,
    scope: Scope,
    corpus: Corpus,
    progress: ProgressReport,
) -> Ingestion:
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


async def _measure(
    settings: Settings,
    database: Database,
    keys: KeyRing,
    scope: Scope,
    beir: BeirCollection,
    corpus: Corpus,
    ingestion: Ingestion,
    progress: ProgressReport,
    as_json: bool,
) -> str:
    clock = SystemClock()
    async with open_client() as client:
        embedder = await open_embedder(settings, client, clock)
        try:
            evaluator = Evaluator(
                SearchService(database, keys, Ledger(database, IdSource(), clock), embedder),
                embedder,
                clock,
                progress,
            )
            legs = await evaluator.measure_legs(scope, ingestion.collection_id, beir, corpus.twins)
            embed_p50_ms = await evaluator.measure_embedding(list(beir.queries.values()))
        finally:
            await embedder.close()
    header = Header(
        collection=beir.name,
        documents=len(beir.documents),
        indexed=ingestion.indexed,
        empty=corpus.empty,
        duplicates=corpus.duplicates,
        failed=ingestion.failed,
        queries=len(beir.queries),
        judgements=sum(len(grades) for grades in beir.judgements.values()),
        unknown_documents=beir.unknown_documents,
        indexed_now=ingestion.new,
        indexing_seconds=ingestion.seconds,
        embed_p50_ms=embed_p50_ms,
        model=embedder.model.name,
    )
    if as_json:
        return json.dumps(render_report(header, legs), indent=2, ensure_ascii=False)
    return render_table(header, legs)

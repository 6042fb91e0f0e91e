"""The application: the only place where the API's parts are wired together."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from undercroft import __version__
from undercroft.chat.answering import Answerer
from undercroft.chat.providers.configured import open_models
from undercroft.chat.responses.service import ResponseService
from undercroft.http.deps import Services
from undercroft.http.errors import install_error_handlers
from undercroft.http.health import Readiness, ReadinessCheck
from undercroft.http.middleware import Admission, BodyPace, PlainErrors, RequestLog
from undercroft.http.openai import (
    chat_completions,
    embeddings,
    files,
    models,
    responses,
    uploads,
    vector_store_files,
    vector_stores,
)
from undercroft.http.routes import (
    audit,
    document_content,
    document_uploads,
    documents,
    jobs,
    ledger,
    legal_holds,
    operations,
    record_locks,
    record_migrations,
    records,
    schemas,
    usage,
)
from undercroft.http.upload_form import FORM_OVERHEAD
from undercroft.identity.service import IdentityService
from undercroft.jobs.service import JobQueue, JobService
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import describe_pending
from undercroft.kit.settings import Settings
from undercroft.kit.telemetry import Telemetry
from undercroft.ledger.audit import AuditService
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.retrieval.search.service import SearchService
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.holds import LegalHolds
from undercroft.vault.intake import Intake
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.receipts import Receipts
from undercroft.vault.records.locks import RecordLocks
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.service import RecordService
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.vault.uploads.models import LARGEST_PART
from undercroft.vault.uploads.parts import PartStore
from undercroft.vault.uploads.service import UploadService
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService
from undercroft.vault.versions import VersionService

ROUTERS: Final[Sequence[APIRouter]] = (
    operations.router,
    jobs.router,
    ledger.router,
    ledger.public_router,
    audit.router,
    schemas.router,
    records.router,
    record_locks.router,
    record_migrations.router,
    documents.router,
    document_content.router,
    legal_holds.router,
    vector_stores.router,
    vector_store_files.router,
    models.router,
    uploads.router,
    usage.router,
)
LONG_TEXT_ROUTERS: Final[Sequence[APIRouter]] = (
    responses.router,
    chat_completions.router,
    embeddings.router,
)
UPLOAD_ROUTERS: Final[Sequence[APIRouter]] = (files.router, document_uploads.router)

_SHORT_BODY: Final = 256 * 1024
"""The largest JSON body where no long text belongs in one: a body costs many times its size once it is parsed."""

_SEQUENCER_POOL: Final = 2
_LONGEST_PENDING_SECONDS: Final = 30.0


def create_application(
    settings: Settings, database_url: str, worker_check: ReadinessCheck
) -> FastAPI:
    """The ASGI application over one database.

    Args:
        settings: The service's settings.
        database_url: The service's login.
        worker_check: Answers None while a worker runs, or what is wrong.
    """
    clock, telemetry = SystemClock(), Telemetry()
    ids = IdSource(clock)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncGenerator[None]:
        async with _open_services(
            settings, database_url, worker_check, clock, ids, telemetry
        ) as services:
            application.state.services = services
            yield

    application = FastAPI(
        title="Undercroft",
        version=__version__,
        summary="Ask your own documents: streamed, cited, provable.",
        lifespan=lifespan,
        # The interactive pages load scripts from elsewhere into an origin that holds private data.
        docs_url=None,
        redoc_url=None,
    )
    # On each router rather than on the application, whose limit would answer past the middleware below.
    for router in ROUTERS:
        application.include_router(router, max_body_size=min(_SHORT_BODY, settings.max_body_bytes))
    for router in LONG_TEXT_ROUTERS:
        application.include_router(router, max_body_size=settings.max_body_bytes)
    for router in UPLOAD_ROUTERS:
        application.include_router(router, max_body_size=settings.max_upload_bytes + FORM_OVERHEAD)
    application.include_router(
        uploads.parts_router,
        max_body_size=min(LARGEST_PART, settings.max_upload_bytes) + FORM_OVERHEAD,
    )
    install_error_handlers(application)
    application.add_middleware(BodyPace, clock=clock)
    _add_middleware(application, settings)
    # Added last, so that it sees every request first.
    application.add_middleware(RequestLog, telemetry=telemetry, clock=clock, ids=ids)
    # FastAPI builds its routes at the first request, 0.1 s on the event loop; writing the document builds them now.
    application.openapi()
    return application


def _add_middleware(application: FastAPI, settings: Settings) -> None:
    """What refuses requests. The last one added sees a request first."""
    application.add_middleware(Admission, max_open=settings.max_open_requests)
    if settings.cors_origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "If-Match",
                "If-None-Match",
                "Lock-Token",
                "If-Range",
                "Range",
            ],
            expose_headers=["X-Request-Id", "Retry-After", "ETag", "Content-Range"],
        )
    application.add_middleware(
        TrustedHostMiddleware, allowed_hosts=list(settings.allowed_hosts), www_redirect=False
    )
    application.add_middleware(PlainErrors)


@asynccontextmanager
async def _open_services(
    settings: Settings,
    database_url: str,
    worker_check: ReadinessCheck,
    clock: Clock,
    ids: IdSource,
    telemetry: Telemetry,
) -> AsyncGenerator[Services]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(
                database_url,
                clock=clock,
                size=settings.database_pool_size,
                statement_cache=settings.database_statement_cache,
                observer=telemetry,
            )
        )
        client = await stack.enter_async_context(open_client())
        embedder = await open_embedder(settings, client, clock)
        stack.push_async_callback(embedder.close)
        registry = open_models(settings, client, clock)
        stack.push_async_callback(registry.close)
        await _run_until_closed(stack, telemetry.watch_loop(clock))

        provider = await open_key_provider(settings, database)
        keys = KeyRing(provider, ids)
        log_keys = LogKeys(database, provider, settings.ledger_origin)
        # Numbers must not wait behind requests for a connection.
        own = await stack.enter_async_context(
            Database(
                database_url,
                clock=clock,
                size=_SEQUENCER_POOL,
                statement_cache=settings.database_statement_cache,
            )
        )
        sequencer = Sequencer(own, LogKeys(own, provider, settings.ledger_origin))
        await _run_until_closed(stack, sequencer.run())
        journal = Ledger(database, ids, clock, sequencer.wake)
        ledger_reader = LedgerReader(database, log_keys, sequencer, clock)
        blobs = open_blob_store(settings)
        staging = Staging(settings.staging_dir, ids)
        await staging.sweep(clock.now())
        record_schemas = SchemaService(database, keys, journal, ids)
        storage = RecordStorage(keys, ids)
        kept_records = RecordService(database, storage, record_schemas, journal)
        usage_service = UsageService(
            database, Quotas(settings.tenant_quota_bytes, settings.user_quota_bytes)
        )
        limit = settings.max_upload_bytes
        intake = Intake(blobs, staging, keys, usage_service, ids, detect_media_type, limit)
        documents = DocumentService(database, blobs, intake, keys, journal, ids)
        parts = PartStore(blobs, staging, keys, ids)
        upload_service = UploadService(
            database,
            parts,
            intake,
            documents,
            keys,
            usage_service,
            journal,
            JobQueue(ids),
            ids,
            limit,
        )
        index = IndexService(JobQueue(ids))
        versions = VersionService(database, blobs, intake, keys, journal, index.follow)
        retention = timedelta(days=settings.document_retention_days)
        collections = CollectionService(database, keys, ids, index)
        search = SearchService(database, keys, journal, embedder)
        answers = Answerer(search, registry)

        checks = {
            "database": partial(describe_pending, database),
            "models": _models_are_loaded,
            "worker": worker_check,
            "ledger": partial(_ledger_keeps_up, sequencer, clock),
        }
        yield Services(
            settings=settings,
            telemetry=telemetry,
            readiness=Readiness(checks),
            ids=ids,
            clock=clock,
            identity=IdentityService(database, journal, ids, clock),
            intake=intake,
            uploads=upload_service,
            usage=usage_service,
            documents=documents,
            schemas=record_schemas,
            records=kept_records,
            record_locks=RecordLocks(kept_records, journal),
            record_migrations=RecordMigrations(
                database, storage, record_schemas, journal, JobQueue(ids), ids
            ),
            versions=versions,
            trash=Trash(database, blobs, keys, journal, retention),
            holds=LegalHolds(database, journal),
            receipts=Receipts(versions, log_keys),
            collections=collections,
            search=search,
            embedder=embedder,
            models=registry,
            answers=answers,
            responses=ResponseService(database, keys, answers, ids, clock),
            jobs=JobService(database),
            ledger=journal,
            ledger_reader=ledger_reader,
            audit=AuditService(
                database, ledger_reader, [documents, upload_service, record_schemas, kept_records]
            ),
        )


async def _ledger_keeps_up(sequencer: Sequencer, clock: Clock) -> str | None:
    oldest = await sequencer.find_oldest_pending()
    if oldest is None:
        return None
    seconds = (clock.now() - oldest).total_seconds()
    if seconds <= _LONGEST_PENDING_SECONDS:
        return None
    return f"an entry has waited {seconds:.0f} seconds for its number"


async def _models_are_loaded() -> None:
    """They are, before the first request is accepted; a model server that is down is not our unreadiness."""


async def _run_until_closed(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)

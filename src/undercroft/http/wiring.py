"""The only place where the API's parts are wired together."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from undercroft.chat.answering import Answerer
from undercroft.chat.providers.configured import open_models
from undercroft.chat.responses.service import ResponseService
from undercroft.http.deps import Services
from undercroft.http.health import Readiness, ReadinessCheck
from undercroft.identity.accounts.hashing import PasswordHasher
from undercroft.identity.api_keys import ApiKeyService
from undercroft.identity.exchange.service import ExchangeService
from undercroft.identity.groups.service import GroupService
from undercroft.identity.issuers.fetching import IssuerKeys
from undercroft.identity.issuers.service import IssuerService
from undercroft.identity.keys import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX
from undercroft.identity.members.service import MemberService
from undercroft.identity.service import IdentityService
from undercroft.identity.tokens.kinds import AccessTokens, ApiKeys
from undercroft.identity.tokens.service import TokenService
from undercroft.jobs.rounds import Rounds
from undercroft.jobs.service import JobQueue, JobService
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client, open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import describe_pending
from undercroft.kit.settings import Settings
from undercroft.kit.tasks import run_until_closed
from undercroft.kit.telemetry import Telemetry
from undercroft.ledger.audit import AuditService
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.refusals import RefusalCounts
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.access import AccessService
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.service import GrantService
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
from undercroft.vault.uploads.parts import PartStore
from undercroft.vault.uploads.service import UploadService
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService
from undercroft.vault.versions import VersionService

_SEQUENCER_POOL: Final = 2
_SETTLE_SECONDS: Final = 10.0
_LONGEST_PENDING_SECONDS: Final = 30.0


@asynccontextmanager
async def open_services(
    settings: Settings,
    database_url: str,
    worker_check: ReadinessCheck,
    clock: Clock,
    ids: IdSource,
    telemetry: Telemetry,
) -> AsyncGenerator[Services]:
    """Everything that the routes call, open while the context is."""
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
        models = open_models(settings, client, clock)
        stack.push_async_callback(models.close)
        run_until_closed(stack, telemetry.watch_loop(clock))

        provider = await stack.enter_async_context(open_key_provider(settings, database))
        keys = KeyRing(provider, ids)
        log_keys = LogKeys(database, provider, settings.ledger_origin)
        sequencer = await _run_sequencer(stack, settings, database_url, provider, clock, ids)
        ledger = Ledger(database, ids, clock, sequencer.wake)
        outgoing = await stack.enter_async_context(open_guarded_client(EgressPolicy.of(settings)))
        issuer_keys = IssuerKeys(outgoing, clock)
        stack.push_async_callback(issuer_keys.close)
        issuers = IssuerService(database, ledger, issuer_keys, ids, clock)
        identity = IdentityService(database, ledger, ids, clock, outside=issuers)
        kinds = {ACCESS_TOKEN_PREFIX: AccessTokens(), API_KEY_PREFIX: ApiKeys()}
        tokens = TokenService(database, ledger, kinds)
        members = MemberService(database, ledger, ids)
        groups = GroupService(database, ledger, members, ids)
        ledger_reader = LedgerReader(database, log_keys, sequencer, clock)
        queue = JobQueue(ids)
        mail = MailQueue(keys, queue, ids)
        hasher = PasswordHasher()
        stack.callback(hasher.close)
        grants = GrantService(database, ledger, ids, identity)
        blobs = open_blob_store(settings)
        staging = Staging(settings.staging_dir, ids)
        await staging.sweep(clock.now())
        schemas = SchemaService(database, keys, ledger, ids)
        storage = RecordStorage(keys, ids)
        records = RecordService(database, storage, schemas, ledger)
        usage = UsageService(
            database, Quotas(settings.tenant_quota_bytes, settings.user_quota_bytes)
        )
        max_bytes = settings.max_upload_bytes
        intake = Intake(blobs, staging, keys, usage, ids, detect_media_type, max_bytes)
        documents = DocumentService(database, blobs, intake, keys, ledger, ids)
        parts = PartStore(blobs, staging, keys, ids)
        uploads = UploadService(
            database,
            parts,
            intake,
            documents,
            keys,
            usage,
            ledger,
            queue,
            ids,
            max_bytes,
        )
        index = IndexService(queue)
        versions = VersionService(database, blobs, intake, keys, ledger, index.follow)
        retention = timedelta(days=settings.document_retention_days)
        collections = CollectionService(database, keys, ledger, ids, index)
        search = SearchService(database, keys, ledger, embedder)
        answers = Answerer(search, models)
        responses = ResponseService(database, keys, ledger, answers, ids, clock)

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
            identity=identity,
            tokens=tokens,
            issuers=issuers,
            exchange=ExchangeService(database, ledger, tokens, ids),
            grants=grants,
            access=AccessService(database, ledger),
            share_links=ShareLinks(database, grants, ledger, keys, hasher, mail, ids),
            members=members,
            groups=groups,
            api_keys=ApiKeyService(database, ledger, members, ids, clock),
            intake=intake,
            uploads=uploads,
            usage=usage,
            documents=documents,
            schemas=schemas,
            records=records,
            record_locks=RecordLocks(records, ledger),
            record_migrations=RecordMigrations(database, storage, schemas, ledger, queue, ids),
            versions=versions,
            trash=Trash(database, blobs, keys, ledger, retention),
            holds=LegalHolds(database, ledger),
            receipts=Receipts(versions, log_keys),
            collections=collections,
            search=search,
            embedder=embedder,
            models=models,
            answers=answers,
            responses=responses,
            jobs=JobService(database),
            ledger=ledger,
            ledger_reader=ledger_reader,
            sequencer=sequencer,
            audit=AuditService(
                database,
                ledger_reader,
                ledger,
                [
                    identity,
                    groups,
                    documents,
                    uploads,
                    schemas,
                    records,
                    collections,
                    responses,
                ],
            ),
        )


async def _run_sequencer(
    stack: AsyncExitStack,
    settings: Settings,
    database_url: str,
    provider: KeyProvider,
    clock: Clock,
    ids: IdSource,
) -> Sequencer:
    """Number what is appended, and settle what refusals are counted, until ``stack`` closes."""
    # A pool of its own: numbers must not wait behind requests for a connection.
    database = await stack.enter_async_context(
        Database(
            database_url,
            clock=clock,
            size=_SEQUENCER_POOL,
            statement_cache=settings.database_statement_cache,
        )
    )
    sequencer = Sequencer(database, LogKeys(database, provider, settings.ledger_origin))
    run_until_closed(stack, sequencer.run())
    refusals = RefusalCounts(database, Ledger(database, ids, clock, sequencer.wake))
    run_until_closed(stack, Rounds("settle_refusals", refusals.settle, _SETTLE_SECONDS).run())
    return sequencer


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

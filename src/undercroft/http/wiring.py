"""The only place where the API's parts are wired together."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.chats.service import ChatService
from undercroft.chat.conversations.searching.service import ConversationSearch
from undercroft.chat.conversations.service import ConversationService
from undercroft.chat.providers.configured import open_models
from undercroft.chat.responses.provenance import ProvenanceService
from undercroft.chat.responses.room import RunLimits
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.responses.takeover import RENEW_SECONDS, TAKE_OVER_SECONDS
from undercroft.chat.streams.notices import CHANNEL, hear
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.tools.client import ToolClient
from undercroft.http.client_rates import ClientRates
from undercroft.http.deps import Services
from undercroft.http.health import Readiness, ReadinessCheck
from undercroft.http.identity_wiring import open_identity
from undercroft.http.search_wiring import open_file_texts, open_search
from undercroft.idempotency.service import IdempotencyKeys
from undercroft.identity.policies import TenantPolicies
from undercroft.identity.service import IdentityService
from undercroft.identity.watching import WatchedCredentials
from undercroft.jobs.rounds import Rounds
from undercroft.jobs.service import JobQueue, JobService
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client, open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource
from undercroft.kit.listening import Listener
from undercroft.kit.migrations import describe_pending
from undercroft.kit.settings import Settings
from undercroft.kit.tasks import run_until_closed
from undercroft.kit.telemetry import Telemetry
from undercroft.ledger.audit import AuditService
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.refusals import RefusalCounts
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue
from undercroft.metering.quotas import QuotaService
from undercroft.metering.service import Metering
from undercroft.notifications.endpoints import EndpointService
from undercroft.notifications.service import Notifications
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.retrieval.texts.service import TextService
from undercroft.sharing.access import AccessService
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.receipts import ConsentReceipts
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.links.tokens import LinkTokens
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.service import GrantService
from undercroft.sharing.watching import WATCH_SECONDS, WatchedGrants
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.comments.service import CommentService
from undercroft.vault.holds import LegalHolds
from undercroft.vault.intake import Intake
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.receipts import Receipts
from undercroft.vault.records.finding import RecordFinding
from undercroft.vault.records.locks import RecordLocks
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.receipts import RecordReceipts
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
from undercroft.verification.links.service import VerificationLinks
from undercroft.verification.service import VerificationService

_SEQUENCER_POOL: Final = 2
_STREAM_POOL: Final = 2
_ATTEND_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 10.0
_CREDENTIAL_SECONDS: Final = 1.0
_LONGEST_PENDING_SECONDS: Final = 30.0
_STRANGERS_BURST: Final = 120
_STRANGERS_PER_SECOND: Final = 2.0


def most_calls(settings: Settings) -> int:
    """To how many a process may have to call out at once: for each request that it takes, each response that it makes.

    With fewer connections, what has been admitted would wait for one until it fails.
    """
    return settings.max_open_requests + settings.max_running_responses


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
        client = await stack.enter_async_context(open_client(most_calls(settings)))
        models = open_models(settings, client, clock)
        stack.push_async_callback(models.close)
        run_until_closed(stack, telemetry.watch_loop(clock))

        provider = await stack.enter_async_context(open_key_provider(settings, database))
        keys = KeyRing(provider, ids)
        log_keys = LogKeys(database, provider, settings.ledger_origin)
        sequencer = await _run_sequencer(stack, settings, database_url, provider, clock, ids)
        ledger = Ledger(database, ids, clock, sequencer.wake)
        watched_grants = await _watch_grants(stack, settings, database_url, clock)
        ledger_reader = LedgerReader(database, log_keys, sequencer, clock)
        logs = LogDirectory(database)
        queue = JobQueue(ids)
        webhooks = EndpointService(database, keys, ledger, EgressPolicy.of(settings), ids)
        mail = MailQueue(keys, queue, ids)
        people = await open_identity(stack, settings, database, ledger, mail, keys, ids, clock)
        grants = GrantService(database, ledger, ids, people.identity)
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
        notices = NoticeService(database, keys, ledger, ids)
        consents = ConsentService(database, notices, grants, ledger, ids)
        index = IndexService(queue)
        versions = VersionService(database, blobs, intake, keys, ledger, index.follow)
        retention = timedelta(days=settings.document_retention_days)
        collections = CollectionService(database, keys, ledger, ids, index)
        embedder, search = await open_search(stack, settings, client, database, keys, ledger, clock)
        answers = Answerer(search, models, watched_grants)
        limits = RunLimits(settings.response_grace_seconds, settings.max_running_responses)
        metering = Metering(database, ids)
        process = await _open_streams(stack, settings, database_url, clock, ids)
        responses = ResponseService(
            database,
            keys,
            ledger,
            answers,
            ids,
            clock,
            watched_grants,
            process,
            metering,
            limits,
            TenantPolicies(database, ledger),
            await _open_tools(stack, settings),
            settings.summary_model,
        )
        _run_streams(stack, database_url, process, responses)
        conversations = ConversationService(database, keys, ledger, ids)

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
            identity=people.identity,
            watched_credentials=_watch_credentials(stack, people.identity),
            watched_grants=watched_grants,
            grants=grants,
            tokens=people.tokens,
            issuers=people.issuers,
            exchange=people.exchange,
            sessions=people.sessions,
            accounts=people.accounts,
            second_factors=people.second_factors,
            mailing=people.mailing,
            sign_in=people.sign_in,
            access=AccessService(database, ledger),
            share_links=ShareLinks(database, grants, ledger, keys, people.hasher, mail, ids),
            link_tokens=LinkTokens(database, grants),
            members=people.members,
            groups=people.groups,
            api_keys=people.api_keys,
            intake=intake,
            uploads=uploads,
            usage=usage,
            documents=documents,
            schemas=schemas,
            records=records,
            record_locks=RecordLocks(records, ledger),
            record_migrations=RecordMigrations(database, storage, schemas, ledger, queue, ids),
            conversation_search=ConversationSearch(database, keys, ledger),
            record_finding=RecordFinding(database, storage, schemas, ledger),
            record_receipts=RecordReceipts(database, records, log_keys),
            versions=versions,
            trash=Trash(database, blobs, keys, ledger, retention),
            holds=LegalHolds(database, ledger),
            comments=CommentService(database, keys, ledger, ids),
            receipts=Receipts(versions, log_keys),
            access_requests=AccessRequests(database, grants, keys, ledger, ids, clock),
            notices=notices,
            consents=consents,
            consent_receipts=ConsentReceipts(consents, log_keys),
            data_subjects=DataSubjects(database, grants, ledger),
            collections=collections,
            search=search,
            texts=TextService(database, keys, ledger),
            file_texts=open_file_texts(stack, settings),
            embedder=embedder,
            models=models,
            answers=answers,
            metering=metering,
            quotas=QuotaService(database, ledger),
            policies=TenantPolicies(database, ledger),
            responses=responses,
            conversations=conversations,
            chats=ChatService(database, keys, ledger, conversations),
            provenance=ProvenanceService(database, keys, ledger, ledger_reader),
            jobs=JobService(database),
            webhooks=webhooks,
            notifications=Notifications(database, queue, ids),
            ledger=ledger,
            ledger_reader=ledger_reader,
            sequencer=sequencer,
            verification=VerificationService(database, logs, keys),
            verification_links=VerificationLinks(
                database, versions, records, ledger, log_keys, keys, ids
            ),
            idempotency=IdempotencyKeys(database, keys, ids),
            client_rates=ClientRates(clock, _STRANGERS_BURST, _STRANGERS_PER_SECOND),
            audit=AuditService(
                database,
                ledger_reader,
                ledger,
                [
                    people.identity,
                    people.groups,
                    people.sessions,
                    documents,
                    uploads,
                    schemas,
                    records,
                    notices,
                    consents,
                    collections,
                    responses,
                    conversations,
                    webhooks,
                ],
            ),
        )


async def _open_pool(
    stack: AsyncExitStack, settings: Settings, database_url: str, clock: Clock, size: int
) -> Database:
    """Connections beside those of requests, until ``stack`` closes."""
    return await stack.enter_async_context(
        Database(
            database_url,
            clock=clock,
            size=size,
            statement_cache=settings.database_statement_cache,
        )
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
    database = await _open_pool(stack, settings, database_url, clock, _SEQUENCER_POOL)
    sequencer = Sequencer(database, LogKeys(database, provider, settings.ledger_origin))
    run_until_closed(stack, sequencer.run())
    refusals = RefusalCounts(database, Ledger(database, ids, clock, sequencer.wake))
    run_until_closed(stack, Rounds("settle_refusals", refusals.settle, _SETTLE_SECONDS).run())
    return sequencer


async def _watch_grants(
    stack: AsyncExitStack, settings: Settings, database_url: str, clock: Clock
) -> WatchedGrants:
    """Cut what runs under grants that end, until ``stack`` closes."""
    # A connection of its own: a cut must not wait behind requests for one.
    database = await _open_pool(stack, settings, database_url, clock, 1)
    watched = WatchedGrants(database)
    run_until_closed(stack, Rounds("watch_grants", watched.check, WATCH_SECONDS).run())
    return watched


def _watch_credentials(stack: AsyncExitStack, identity: IdentityService) -> WatchedCredentials:
    """End what is open under credentials that end, until ``stack`` closes."""
    watched = WatchedCredentials(identity)
    run_until_closed(stack, Rounds("watch_credentials", watched.check, _CREDENTIAL_SECONDS).run())
    return watched


async def _open_tools(stack: AsyncExitStack, settings: Settings) -> ToolClient:
    """What asks servers of tools until ``stack`` closes: guarded, as tenants name them."""
    egress = EgressPolicy.of_tools(settings)
    return ToolClient(await stack.enter_async_context(open_guarded_client(egress)), egress)


async def _open_streams(
    stack: AsyncExitStack, settings: Settings, database_url: str, clock: Clock, ids: IdSource
) -> StreamProcess:
    """What writes events until ``stack`` closes."""
    # A pool of its own: an event must not wait behind requests for a connection.
    database = await _open_pool(stack, settings, database_url, clock, _STREAM_POOL)
    return StreamProcess.over(database, ids)


def _run_streams(
    stack: AsyncExitStack, database_url: str, process: StreamProcess, responses: ResponseService
) -> None:
    """Keep this process's streams, and take over those of others, until ``stack`` closes."""
    runs, watching, takeover = responses.runs, responses.watching, responses.takeover
    stack.push_async_callback(runs.close)
    listener = Listener(
        database_url,
        CHANNEL,
        partial(hear, process.id, hearer=responses),
        partial(process.live.moved, None),
    )
    run_until_closed(stack, listener.run())
    run_until_closed(stack, Rounds("renew_leases", takeover.renew, RENEW_SECONDS).run())
    run_until_closed(stack, Rounds("take_over", takeover.take_over, TAKE_OVER_SECONDS).run())
    run_until_closed(stack, Rounds("take_turns", runs.queue.look, _ATTEND_SECONDS).run())
    run_until_closed(stack, Rounds("attend_streams", watching.attend, _ATTEND_SECONDS).run())


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

"""``undercroft worker``: runs background jobs on the database of a service, here or elsewhere."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

import structlog

from undercroft.chat.responses.short_lived import ShortLivedResponses
from undercroft.chat.streams.forgetting import OldStreams
from undercroft.commands.databases import database_pool, find_owner_url, open_any_database
from undercroft.commands.parent import stop_with_parent
from undercroft.commands.spaces import require_models
from undercroft.idempotency.service import IdempotencyKeys
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.service import SessionService
from undercroft.jobs.handler import JobHandler
from undercroft.jobs.rounds import Rounds
from undercroft.jobs.service import JobQueue
from undercroft.jobs.worker import Worker
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client, open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.configured import open_mailer
from undercroft.kit.settings import Settings
from undercroft.kit.tasks import run_until_closed
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.mail.service import MailQueue
from undercroft.mail.tasks import MailTasks
from undercroft.metering.service import UsageRounds
from undercroft.notifications.letters import Letters
from undercroft.notifications.relay import EventRelay
from undercroft.notifications.sender import WebhookSender
from undercroft.notifications.service import Notifications
from undercroft.notifications.tasks import WebhookTasks
from undercroft.retrieval.embedding.configured import open_embedder, open_incoming_embedder
from undercroft.retrieval.index.backlog import IndexBacklog
from undercroft.retrieval.index.document_titles import DocumentTitles
from undercroft.retrieval.index.tasks import IndexTasks
from undercroft.retrieval.minilm.files import load_tokenizer
from undercroft.retrieval.parsing.sandbox import ParserSandbox, SandboxLimits
from undercroft.retrieval.spaces.backfill import Backfill
from undercroft.retrieval.spaces.rebuilding import IndexRebuilds
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.synchronising import VectorSync
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.service import GrantService
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.orphans import OrphanSweep
from undercroft.vault.promised import PromisedErasure
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.trash import Trash
from undercroft.vault.uploads.tasks import UploadTasks

READY_LINE: Final = "ready"
"""What a worker that belongs to a service writes on its standard output once it takes jobs."""

_OWN_POOL: Final = 5
_PURGE_SECONDS: Final = 60.0
_FORGET_SECONDS: Final = 600.0
_CONSENT_SECONDS: Final = 15.0
_TELL_SECONDS: Final = 1.0
_BRINGING_SECONDS: Final = 30.0
_ADD_UP_SECONDS: Final = 10.0
_BACKFILL_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 24 * 3600.0
_REBUILD_SECONDS: Final = 3600.0

_log = structlog.stdlib.get_logger(__name__)


async def run_worker(settings: Settings, *, belongs_to_parent: bool) -> None:
    """Run jobs until told to stop by SIGTERM or SIGINT.

    Args:
        settings: The service's settings.
        belongs_to_parent: Whether to say when ready on standard output, and to stop when standard input ends, which
            it does however the parent dies.
    """
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(open_any_database(settings, may_make=True))
        async with database_pool(settings, url, 1) as database:
            await require_models(settings, database)
        worker = await open_worker(stack, settings, url)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        if belongs_to_parent:
            watcher = await stop_with_parent(stopping.set)
            stack.callback(watcher.cancel)
            sys.stdout.write(f"{READY_LINE}\n")
            sys.stdout.flush()
        running = asyncio.create_task(worker.run())
        stopped = asyncio.create_task(stopping.wait())
        _log.info("worker_ready", pid=os.getpid())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await worker.stop()
        await running


async def open_worker(stack: AsyncExitStack, settings: Settings, url: str) -> Worker:
    """A worker with everything its handlers need, which ``stack`` closes.

    Args:
        stack: Outlives the worker.
        settings: The service's settings; ``data_dir`` holds the blobs.
        url: The service's login.
    """
    clock = SystemClock()
    ids = IdSource(clock)
    database = await stack.enter_async_context(
        database_pool(settings, url, settings.database_pool_size)
    )
    # Heartbeats must not wait for a connection behind the handlers' statements.
    background_database = await stack.enter_async_context(database_pool(settings, url, _OWN_POOL))
    client = await stack.enter_async_context(open_client())
    embedder = await open_embedder(settings, client, clock)
    stack.push_async_callback(embedder.close)
    incoming = await open_incoming_embedder(settings, client, clock)
    if incoming is not None:
        stack.push_async_callback(incoming.close)
    limits = SandboxLimits(
        memory_bytes=settings.parser_memory_bytes, seconds=settings.parser_seconds
    )
    sandbox = await stack.enter_async_context(ParserSandbox(limits))
    if sandbox.missing_protections:
        _log.warning("parser_less_confined", missing=sandbox.missing_protections)
    provider = await stack.enter_async_context(open_key_provider(settings, database))
    sequencer = Sequencer(
        background_database, LogKeys(background_database, provider, settings.ledger_origin)
    )
    run_until_closed(stack, sequencer.run())
    blobs, keys = open_blob_store(settings), KeyRing(provider, ids)
    background_ledger = Ledger(background_database, ids, clock, sequencer.wake)
    trash = Trash(
        background_database,
        blobs,
        keys,
        background_ledger,
        timedelta(days=settings.document_retention_days),
    )
    _run_sharing_rounds(stack, background_database, blobs, keys, background_ledger, ids, clock)
    _run_telling_rounds(stack, background_database, keys, ids)
    _run_vector_rounds(stack, settings, background_database, clock)
    await _run_index_rounds(stack, settings, background_database)
    usage = UsageRounds(background_database)
    run_until_closed(stack, Rounds("add_up_usage", usage.add_up, _ADD_UP_SECONDS).run())
    run_until_closed(stack, Rounds("tidy_usage", usage.tidy, _FORGET_SECONDS).run())
    short_lived = ShortLivedResponses(background_database)
    run_until_closed(stack, Rounds("forget_responses", short_lived.forget, _FORGET_SECONDS).run())
    streams = OldStreams(background_database)
    run_until_closed(stack, Rounds("forget_streams", streams.forget, _FORGET_SECONDS).run())
    orphans = OrphanSweep(background_database, blobs, clock)
    run_until_closed(stack, Rounds("purge_trash", trash.purge, _PURGE_SECONDS).run())
    run_until_closed(stack, Rounds("sweep_orphans", orphans.sweep, _SWEEP_SECONDS).run())
    sessions = SessionService(
        background_database, Ledger(background_database, ids, clock, sequencer.wake), ids
    )
    run_until_closed(stack, Rounds("forget_sessions", sessions.forget_ended, _FORGET_SECONDS).run())
    answers = IdempotencyKeys(background_database, keys, ids)
    run_until_closed(stack, Rounds("forget_answers", answers.forget_expired, _FORGET_SECONDS).run())
    tasks = IndexTasks(
        database,
        blobs,
        keys,
        sandbox,
        await asyncio.to_thread(load_tokenizer, settings.models_dir),
        embedder,
        JobQueue(ids),
        incoming,
    )
    backfill = Backfill(
        background_database,
        keys,
        DocumentTitles(background_database, blobs, keys, sandbox),
        [embedder, *([incoming] if incoming else [])],
        IndexBacklog(background_database).exists,
    )
    run_until_closed(stack, Rounds("embed_former", backfill.go_on, _BACKFILL_SECONDS).run())
    ledger = Ledger(database, ids, clock, sequencer.wake)
    uploads = UploadTasks(database, blobs, ledger)
    migrations = RecordMigrations(
        database,
        RecordStorage(keys, ids),
        SchemaService(database, keys, ledger, ids),
        ledger,
        JobQueue(ids),
        ids,
    )
    handlers = {
        **await _open_messengers(stack, settings, database, keys, ledger, ids, clock),
        **tasks.handlers(settings.worker_concurrency),
        **uploads.handlers(),
        **migrations.handlers(),
    }
    return Worker(background_database, handlers, clock=clock, random=random.random)


async def _open_messengers(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    keys: KeyRing,
    ledger: Ledger,
    ids: IdSource,
    clock: Clock,
) -> Mapping[str, JobHandler]:
    """What sends mail and webhooks, and forgets both in time."""
    mail = MailTasks(database, keys, open_mailer(settings))
    client = await stack.enter_async_context(open_guarded_client(EgressPolicy.of(settings)))
    webhooks = WebhookTasks(
        database, keys, WebhookSender(client), JobQueue(ids), ledger, clock, random.random
    )
    run_until_closed(stack, Rounds("forget_mail", mail.forget_overdue, _FORGET_SECONDS).run())
    run_until_closed(stack, Rounds("forget_webhooks", webhooks.forget_old, _FORGET_SECONDS).run())
    return {**mail.handlers(), **webhooks.handlers()}


def _run_sharing_rounds(
    stack: AsyncExitStack,
    database: Database,
    blobs: BlobStore,
    keys: KeyRing,
    ledger: Ledger,
    ids: IdSource,
    clock: Clock,
) -> None:
    """End consents and requests by their time, and erase what was promised to be, until ``stack`` closes."""
    grants = GrantService(database, ledger, ids, IdentityService(database, ledger, ids, clock))
    notices = NoticeService(database, keys, ledger, ids)
    consents = ConsentService(database, notices, grants, ledger, ids)
    promised = PromisedErasure(database, blobs, RecordStorage(keys, ids), ledger)
    run_until_closed(stack, Rounds("expire_consents", consents.expire, _CONSENT_SECONDS).run())
    requests = AccessRequests(database, grants, keys, ledger, ids, clock)
    run_until_closed(stack, Rounds("expire_requests", requests.expire, _PURGE_SECONDS).run())
    run_until_closed(stack, Rounds("announce_requests", requests.announce, _TELL_SECONDS).run())
    run_until_closed(stack, Rounds("keep_promises", promised.erase, _CONSENT_SECONDS).run())


def _run_vector_rounds(
    stack: AsyncExitStack, settings: Settings, database: Database, clock: Clock
) -> None:
    """Keep an index outside as PostgreSQL has it, until ``stack`` closes; nothing where none is configured."""
    points = open_points(settings, clock, _BRINGING_SECONDS)
    if points is None:
        return
    stack.push_async_callback(points.close)
    sync = VectorSync(database, points)
    run_until_closed(stack, Rounds("bring_vectors", sync.bring_pending, _TELL_SECONDS).run())
    run_until_closed(stack, Rounds("compare_vectors", sync.compare_again, _SWEEP_SECONDS).run())


async def _run_index_rounds(stack: AsyncExitStack, settings: Settings, database: Database) -> None:
    """Build worn indexes anew, until ``stack`` closes; nothing where this worker has no login of their owner."""
    owner_url = await find_owner_url(settings)
    if owner_url is None:
        return
    rebuilds = IndexRebuilds(database, owner_url)
    run_until_closed(
        stack, Rounds("rebuild_indexes", rebuilds.rebuild_worn, _REBUILD_SECONDS).run()
    )


def _run_telling_rounds(
    stack: AsyncExitStack, database: Database, keys: KeyRing, ids: IdSource
) -> None:
    """Tell programs and people what has happened, until ``stack`` closes."""
    queue = JobQueue(ids)
    relay = EventRelay(database, Notifications(database, queue, ids))
    letters = Letters(database, MailQueue(keys, queue, ids))
    run_until_closed(stack, Rounds("relay_events", relay.relay, _TELL_SECONDS).run())
    run_until_closed(stack, Rounds("send_letters", letters.send_owed, _TELL_SECONDS).run())
    run_until_closed(stack, Rounds("forget_letters", letters.forget, _FORGET_SECONDS).run())

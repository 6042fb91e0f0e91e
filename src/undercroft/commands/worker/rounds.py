"""What a worker does again and again, and nobody has asked for: it ends, forgets, tells, adds up and compares."""

from datetime import timedelta
from typing import Final

from undercroft.chat.responses.short_lived import ShortLivedResponses
from undercroft.chat.streams.forgetting import OldStreams
from undercroft.commands.databases import find_owner_url
from undercroft.commands.worker.foundation import FORGET_SECONDS, Foundation
from undercroft.idempotency.service import IdempotencyKeys
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.service import SessionService
from undercroft.mail.service import MailQueue
from undercroft.metering.service import UsageRounds
from undercroft.notifications.letters import Letters
from undercroft.notifications.relay import EventRelay
from undercroft.notifications.service import Notifications
from undercroft.retrieval.index.backlog import IndexBacklog
from undercroft.retrieval.index.document_titles import DocumentTitles
from undercroft.retrieval.spaces.backfill import Backfill
from undercroft.retrieval.spaces.rebuilding import IndexRebuilds
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.synchronising import VectorSync
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.service import GrantService
from undercroft.vault.orphans import OrphanSweep
from undercroft.vault.promised import PromisedErasure
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.trash import Trash

_TELL_SECONDS: Final = 1.0
_BACKFILL_SECONDS: Final = 2.0
_ADD_UP_SECONDS: Final = 10.0
_CONSENT_SECONDS: Final = 15.0
_BRINGING_SECONDS: Final = 30.0
_PURGE_SECONDS: Final = 60.0
_REBUILD_SECONDS: Final = 3600.0
_SWEEP_SECONDS: Final = 24 * 3600.0


async def run_rounds(base: Foundation) -> None:
    """All of them, until the foundation's stack closes."""
    _forget(base)
    _add_up_usage(base)
    _end_what_is_shared(base)
    _tell(base)
    _keep_storage_clean(base)
    _embed_for_other_models(base)
    _follow_index_outside(base)
    await _rebuild_indexes(base)


def _forget(base: Foundation) -> None:
    """What is kept for a time alone."""
    responses = ShortLivedResponses(base.background)
    streams = OldStreams(base.background)
    sessions = SessionService(base.background, base.background_ledger, base.ids)
    answers = IdempotencyKeys(base.background, base.keys, base.ids)
    base.repeat("forget_responses", responses.forget, FORGET_SECONDS)
    base.repeat("forget_streams", streams.forget, FORGET_SECONDS)
    base.repeat("forget_sessions", sessions.forget_ended, FORGET_SECONDS)
    base.repeat("forget_answers", answers.forget_expired, FORGET_SECONDS)


def _add_up_usage(base: Foundation) -> None:
    usage = UsageRounds(base.background)
    base.repeat("add_up_usage", usage.add_up, _ADD_UP_SECONDS)
    base.repeat("tidy_usage", usage.tidy, FORGET_SECONDS)


def _end_what_is_shared(base: Foundation) -> None:
    """Consents and requests by their time; and what was promised to be erased is."""
    database, ledger, keys, ids = base.background, base.background_ledger, base.keys, base.ids
    grants = GrantService(database, ledger, ids, IdentityService(database, ledger, ids, base.clock))
    notices = NoticeService(database, keys, ledger, ids)
    consents = ConsentService(database, notices, grants, ledger, ids)
    promised = PromisedErasure(database, base.blobs, RecordStorage(keys, ids), ledger)
    requests = AccessRequests(database, grants, keys, ledger, ids, base.clock)
    base.repeat("expire_consents", consents.expire, _CONSENT_SECONDS)
    base.repeat("keep_promises", promised.erase, _CONSENT_SECONDS)
    base.repeat("expire_requests", requests.expire, _PURGE_SECONDS)
    base.repeat("announce_requests", requests.announce, _TELL_SECONDS)


def _tell(base: Foundation) -> None:
    """Programs and people what has happened."""
    relay = EventRelay(base.background, Notifications(base.background, base.queue, base.ids))
    letters = Letters(base.background, MailQueue(base.keys, base.queue, base.ids))
    base.repeat("relay_events", relay.relay, _TELL_SECONDS)
    base.repeat("send_letters", letters.send_owed, _TELL_SECONDS)
    base.repeat("forget_letters", letters.forget, FORGET_SECONDS)


def _keep_storage_clean(base: Foundation) -> None:
    retention = timedelta(days=base.settings.document_retention_days)
    trash = Trash(base.background, base.blobs, base.keys, base.background_ledger, retention)
    orphans = OrphanSweep(base.background, base.blobs, base.clock)
    base.repeat("purge_trash", trash.purge, _PURGE_SECONDS)
    base.repeat("sweep_orphans", orphans.sweep, _SWEEP_SECONDS)


def _embed_for_other_models(base: Foundation) -> None:
    """What is indexed for one model and has a space of another's beside it."""
    embedders = [base.embedder, *([base.incoming] if base.incoming else [])]
    titles = DocumentTitles(base.background, base.blobs, base.keys, base.sandbox)
    has_backlog = IndexBacklog(base.background).exists
    backfill = Backfill(base.background, base.keys, titles, embedders, has_backlog)
    base.repeat("embed_former", backfill.go_on, _BACKFILL_SECONDS)


def _follow_index_outside(base: Foundation) -> None:
    """Keep it as PostgreSQL has it; nothing where none is configured."""
    points = open_points(base.settings, base.clock, _BRINGING_SECONDS)
    if points is None:
        return
    base.stack.push_async_callback(points.close)
    sync = VectorSync(base.background, points)
    base.repeat("bring_vectors", sync.bring_pending, _TELL_SECONDS)
    base.repeat("compare_vectors", sync.compare_again, _SWEEP_SECONDS)


async def _rebuild_indexes(base: Foundation) -> None:
    """Those that are worn; nothing where this worker has no login of their owner."""
    owner_url = await find_owner_url(base.settings)
    if owner_url is None:
        return
    rebuilds = IndexRebuilds(base.background, owner_url)
    base.repeat("rebuild_indexes", rebuilds.rebuild_worn, _REBUILD_SECONDS)

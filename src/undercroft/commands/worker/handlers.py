"""The jobs that a worker takes, and what does each."""

import asyncio
import random
from collections.abc import Mapping

from undercroft.commands.worker.foundation import FORGET_SECONDS, Foundation
from undercroft.jobs.handler import JobHandler
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.mail.configured import open_mailer
from undercroft.mail.tasks import MailTasks
from undercroft.notifications.sender import WebhookSender
from undercroft.notifications.tasks import WebhookTasks
from undercroft.retrieval.index.tasks import IndexTasks
from undercroft.retrieval.minilm.files import load_tokenizer
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.uploads.tasks import UploadTasks


async def open_handlers(base: Foundation) -> Mapping[str, JobHandler]:
    """By the kind of job; what they need is open until the foundation's stack closes."""
    index = IndexTasks(
        base.database,
        base.blobs,
        base.keys,
        base.sandbox,
        await asyncio.to_thread(load_tokenizer, base.settings.models_dir),
        base.embedder,
        base.queue,
        base.incoming,
    )
    uploads = UploadTasks(base.database, base.blobs, base.ledger)
    migrations = RecordMigrations(
        base.database,
        RecordStorage(base.keys, base.ids),
        SchemaService(base.database, base.keys, base.ledger, base.ids),
        base.ledger,
        base.queue,
        base.ids,
    )
    return {
        **await _open_messengers(base),
        **index.handlers(base.settings.worker_concurrency),
        **uploads.handlers(),
        **migrations.handlers(),
    }


async def _open_messengers(base: Foundation) -> Mapping[str, JobHandler]:
    """What sends mail and webhooks, and forgets both in time."""
    client = await base.stack.enter_async_context(
        open_guarded_client(EgressPolicy.of(base.settings))
    )
    mail = MailTasks(base.database, base.keys, open_mailer(base.settings))
    webhooks = WebhookTasks(
        base.database,
        base.keys,
        WebhookSender(client),
        base.queue,
        base.ledger,
        base.clock,
        random.random,
    )
    base.repeat("forget_mail", mail.forget_overdue, FORGET_SECONDS)
    base.repeat("forget_webhooks", webhooks.forget_old, FORGET_SECONDS)
    return {**mail.handlers(), **webhooks.handlers()}

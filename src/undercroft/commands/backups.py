"""``undercroft backup`` and ``undercroft restore``."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from undercroft.commands.databases import (
    bring_up_to_date,
    external_urls,
    open_any_database,
    unhurried_pool,
)
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres
from undercroft.kit.settings import Settings
from undercroft.operations.backups.backup import Backup, BackupSummary
from undercroft.operations.backups.restore import Restore, RestoreSummary
from undercroft.operations.errors import OperationError
from undercroft.operations.examination.examiner import Examiner
from undercroft.operations.progress import Progress
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing


async def back_up(settings: Settings, target: Path, progress: Progress) -> BackupSummary:
    """Write a backup, also while the service runs."""
    async with (
        open_any_database(settings) as url,
        unhurried_pool(settings, url) as database,
        open_key_provider(settings, database) as provider,
    ):
        store = open_blob_store(settings)
        return await Backup(database, store, provider, SystemClock(), progress).write(target)


async def restore(settings: Settings, source: Path, progress: Progress) -> RestoreSummary:
    """Restore a backup into an empty installation that nothing else uses."""
    await _check_key_file(settings)
    ids = IdSource(SystemClock())
    store = open_blob_store(settings)
    await asyncio.to_thread(settings.staging_dir.mkdir, mode=0o700, parents=True, exist_ok=True)
    async with (
        _open_as_owner(settings) as urls,
        unhurried_pool(settings, urls.migration) as database,
        open_key_provider(settings, database) as provider,
    ):
        return await Restore(
            database,
            store,
            settings.staging_dir,
            provider,
            IndexService(JobQueue(ids)),
            Examiner(store, provider, KeyRing(provider, ids)),
            ids,
            progress,
        ).run(source)


async def _check_key_file(settings: Settings) -> None:
    """A service makes the key file at its first start; here a new one could open nothing."""
    if settings.key_provider == "file" and not await asyncio.to_thread(settings.key_path.exists):
        raise OperationError(
            f"There is no key file {settings.key_path}. Put the one there that the data was written with: it is in no "
            "backup."
        )


@asynccontextmanager
async def _open_as_owner(settings: Settings) -> AsyncGenerator[DatabaseUrls]:
    """Both logins of a migrated database; the embedded one is started, and refused while a service runs on it."""
    if settings.database_url is not None or settings.migration_url is not None:
        urls = external_urls(settings)
        await bring_up_to_date(urls, settings)
        yield urls
        return
    async with EmbeddedPostgres(settings.data_dir, clock=SystemClock()) as urls:
        await bring_up_to_date(urls, settings)
        yield urls

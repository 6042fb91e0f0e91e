"""``undercroft scrub``: after erasures, rewrites the embedded server's files so that none holds what was erased."""

from collections.abc import Callable

from undercroft.commands.databases import bring_up_to_date, require_installation
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import EmbeddedPostgres
from undercroft.kit.settings import Settings
from undercroft.operations.errors import OperationError
from undercroft.vault.blobs.staging import Staging


async def scrub(settings: Settings, progress: Callable[[str], None]) -> None:
    """Rewrite every table and index, and forget the write-ahead log. No service may run on the data folder.

    Raises:
        OperationError: When the database is not the embedded one, or there is none.
        DataFolderInUseError: When a service runs.
    """
    if settings.database_url is not None or settings.migration_url is not None:
        raise OperationError(
            "This database is not the embedded one: its files are its administrator's. Ask them to run VACUUM (FULL, "
            "ANALYZE) and REINDEX DATABASE on it, and to let archived WAL, replicas' slots and physical backups from "
            "before the erasure age out."
        )
    await require_installation(settings)
    clock = SystemClock()
    server = EmbeddedPostgres(settings.data_dir, clock=clock)
    async with server as urls:
        await bring_up_to_date(urls, settings)
        await server.scrub(progress)
    await Staging(settings.staging_dir, IdSource(clock)).sweep(clock.now())

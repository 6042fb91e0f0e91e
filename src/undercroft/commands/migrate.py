"""``undercroft migrate``: brings a database to this program's schema."""

from undercroft.commands.databases import bring_up_to_date, external_urls
from undercroft.kit.clock import SystemClock
from undercroft.kit.postgres.server import EmbeddedPostgres
from undercroft.kit.settings import Settings


async def migrate_database(settings: Settings) -> list[str]:
    """Migrate the external database where one is configured, else the embedded one; the migrations applied now."""
    if settings.database_url is not None or settings.migration_url is not None:
        return await bring_up_to_date(external_urls(settings), settings)
    async with EmbeddedPostgres(settings.data_dir, clock=SystemClock()) as urls:
        return await bring_up_to_date(urls, settings)

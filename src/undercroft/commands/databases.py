"""Which database a command works on: the configured one, the one a service runs here, or one started for it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import unquote, urlsplit

from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.migrations import (
    adopt_model,
    describe_pending,
    grant_service_role,
    load_migrations,
    migrate,
    migrations_folder,
    register_model,
    want_outside_index,
)
from undercroft.kit.postgres.errors import DataFolderInUseError
from undercroft.kit.postgres.server import (
    DatabaseUrls,
    EmbeddedPostgres,
    is_installed,
    running_urls,
)
from undercroft.kit.preflight import check_server
from undercroft.kit.settings import Settings, SettingsError
from undercroft.operations.errors import OperationError
from undercroft.retrieval.embedding.models import configured_models

_STARTING_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_COMMAND_POOL: Final = 2


@asynccontextmanager
async def open_own_database(settings: Settings) -> AsyncGenerator[str]:
    """The service's login of a checked and, if it is the embedded one, started and migrated database.

    Raises:
        PreflightError: When the external database cannot be used as it is.
        PostgresStartError: When the embedded server cannot be started.
        MigrationError: When the embedded database cannot be migrated.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        await check_server(url)
        yield url
        return
    server = EmbeddedPostgres(settings.data_dir, clock=SystemClock())
    async with server as urls:
        await bring_up_to_date(urls, settings)
        watching = asyncio.create_task(server.keep_running())
        try:
            yield urls.service
        finally:
            watching.cancel()
            await asyncio.wait([watching])


@asynccontextmanager
async def open_any_database(settings: Settings, *, may_make: bool = False) -> AsyncGenerator[str]:
    """As :func:`open_own_database`, but beside a service that runs on the same data folder its server is used.

    Args:
        settings: Which database.
        may_make: Whether the embedded one is made where there is none.

    Raises:
        DataFolderInUseError: When that service does not come up in time.
        OperationError: When there is no database and none may be made.
    """
    if not may_make:
        await require_installation(settings)
    async with AsyncExitStack() as stack:
        yield await _enter_any(stack, settings)


@asynccontextmanager
async def connect_any_database(
    settings: Settings, *, may_make: bool = False
) -> AsyncGenerator[Database]:
    """A small pool on the database of :func:`open_any_database`, for a command that does one thing and ends."""
    async with (
        open_any_database(settings, may_make=may_make) as url,
        database_pool(settings, url, _COMMAND_POOL) as database,
    ):
        yield database


async def require_installation(settings: Settings) -> None:
    """Refuse a data folder in which there was never a database: a mistyped one would read as an empty, sound service.

    Raises:
        OperationError: When there was none.
    """
    if settings.database_url is None and not await asyncio.to_thread(
        is_installed, settings.data_dir
    ):
        raise OperationError(
            f"There is no database in the data folder {settings.data_dir}. Name the service's folder with --data-dir "
            "or UNDERCROFT_DATA_DIR."
        )


def database_pool(settings: Settings, url: str, size: int) -> Database:
    """A pool of at most ``size`` connections, to be opened by the caller."""
    return Database(
        url, clock=SystemClock(), size=size, statement_cache=settings.database_statement_cache
    )


async def find_owner_url(settings: Settings) -> str | None:
    """The owner's login of the database that is open now; None where it is external and was not given."""
    if settings.database_url is not None:
        url = settings.migration_url
        return None if url is None else url.get_secret_value()
    urls = await asyncio.to_thread(running_urls, settings.data_dir)
    return None if urls is None else urls.migration


def unhurried_pool(settings: Settings, url: str) -> Database:
    """A small pool whose statements may take as long as they need: for commands that read or write everything."""
    return Database(
        url,
        clock=SystemClock(),
        size=_COMMAND_POOL,
        statement_cache=settings.database_statement_cache,
        statement_seconds=None,
    )


async def _enter_any(stack: AsyncExitStack, settings: Settings) -> str:
    clock = SystemClock()
    deadline = clock.monotonic() + _STARTING_SECONDS
    while True:
        url = await _find_running(settings)
        if url is not None:
            return url
        try:
            return await stack.enter_async_context(open_own_database(settings))
        except DataFolderInUseError:
            # A service is starting there, and its server is not ready yet.
            if clock.monotonic() > deadline:
                raise
            await asyncio.sleep(_POLL_SECONDS)


async def _find_running(settings: Settings) -> str | None:
    if settings.database_url is not None:
        return None
    urls = await asyncio.to_thread(running_urls, settings.data_dir)
    if urls is None:
        return None
    async with database_pool(settings, urls.service, _COMMAND_POOL) as database:
        is_pending = await describe_pending(database) is not None
    return None if is_pending else urls.service


async def bring_up_to_date(urls: DatabaseUrls, settings: Settings) -> list[str]:
    """Migrate, admit the service's login, register the embedding models, say whether vectors are wanted outside.

    Returns:
        The names of the migrations that were applied now.
    """
    applied = await migrate(urls.migration, load_migrations(migrations_folder()))
    await grant_service_role(urls.migration, _login(urls.service))
    first, *incoming = configured_models(settings)
    await register_model(urls.migration, first.name, first.dimensions)
    await adopt_model(urls.migration, first.name)
    for model in incoming:
        await register_model(urls.migration, model.name, model.dimensions)
    await want_outside_index(urls.migration, is_wanted=settings.qdrant_url is not None)
    return [migration.name for migration in applied]


def external_urls(settings: Settings) -> DatabaseUrls:
    """Both logins of the external database.

    Raises:
        SettingsError: When one is missing.
    """
    if settings.database_url is None or settings.migration_url is None:
        raise SettingsError(
            "Set UNDERCROFT_DATABASE_URL (the service's login) and UNDERCROFT_MIGRATION_URL (the owner)."
        )
    return DatabaseUrls(
        settings.database_url.get_secret_value(), settings.migration_url.get_secret_value()
    )


def _login(url: str) -> str:
    return unquote(urlsplit(url).username or "")

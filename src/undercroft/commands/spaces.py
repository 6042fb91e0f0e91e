"""``undercroft embeddings``: moves the service from one embedding model to another, and looks after their indexes."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from undercroft.commands.databases import find_owner_url, open_any_database, unhurried_pool
from undercroft.identity.service import find_tenant
from undercroft.identity.tenants import list_tenants
from undercroft.kit.database import Database
from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.kit.index_upkeep import (
    IndexBusyError,
    IndexSize,
    Progress,
    drop_index,
    measure_index,
    rebuild_index,
)
from undercroft.kit.migrations import describe_pending
from undercroft.kit.settings import Settings, SettingsError
from undercroft.operations.errors import OperationError
from undercroft.retrieval.embedding.models import configured_models
from undercroft.retrieval.spaces.errors import ModelInUseError
from undercroft.retrieval.spaces.models import Rebuild, SpaceModel, SpaceProgress
from undercroft.retrieval.spaces.rebuilding import find_rebuild
from undercroft.retrieval.spaces.service import SpaceAdministration
from undercroft.retrieval.spaces.upkeep import IndexHealth, index_name


async def require_models(settings: Settings, database: Database) -> None:
    """Refuse settings without a model that something is searched with: such a search would find words alone.

    Raises:
        SettingsError: When one is not named.
    """
    if await describe_pending(database) is not None:
        return
    named = {model.name for model in configured_models(settings)}
    for model in await SpaceAdministration(database).list_models():
        if model.is_used and model.name not in named:
            raise SettingsError(
                f"Passages are searched with the embedding model '{model.name}', which the settings do not name. Name "
                'it again; to move to another one, name that as incoming_embedding_model. See "Another embedding '
                'model" in docs/search.md.'
            )


async def describe_models(
    settings: Settings, tenant: str | None
) -> list[tuple[SpaceModel, IndexHealth | None, Rebuild | None, list[SpaceProgress]]]:
    """Each model, its index with the last rebuild of that, as its owner may look, and how far each tenant is."""
    async with _open(settings) as (database, spaces):
        tenants = await _tenants(database, tenant)
        owner = await find_owner_url(settings)
        found: list[tuple[SpaceModel, IndexHealth | None, Rebuild | None, list[SpaceProgress]]] = []
        for model in await spaces.list_models():
            progress = [await spaces.measure(tenant_id, model) for tenant_id in tenants]
            size = None if owner is None else await measure_index(owner, index_name(model.id))
            health = None if tenant is not None else _health(model, size, progress)
            rebuilt = None if owner is None else await find_rebuild(owner, model)
            found.append((model, health, rebuilt, progress))
        return found


async def begin_backfill(settings: Settings, model: str, tenant: str | None) -> int:
    """Have the workers embed by a model what it has not yet; of how many tenants."""
    async with _open(settings) as (database, spaces):
        if model not in {named.name for named in configured_models(settings)}:
            raise OperationError(
                f"The settings do not name '{model}': no worker could embed by it."
            )
        tenants = await _tenants(database, tenant)
        for tenant_id in tenants:
            await spaces.begin_backfill(tenant_id, model)
        return len(tenants)


async def pause_backfill(settings: Settings, model: str, tenant: str | None) -> int:
    """Have the workers rest; of how many tenants."""
    async with _open(settings) as (database, spaces):
        tenants = await _tenants(database, tenant)
        for tenant_id in tenants:
            await spaces.pause_backfill(tenant_id, model)
        return len(tenants)


async def switch(
    settings: Settings, model: str, tenant: str | None, collection_id: UUID | None
) -> None:
    """Search with a model: a collection, a tenant, or everything. All of it is looked at before any is switched."""
    async with _open(settings) as (database, spaces):
        tenants = await _tenants(database, tenant)
        for tenant_id in tenants:
            await spaces.require_complete(tenant_id, model, collection_id)
        for tenant_id in tenants:
            await spaces.switch(tenant_id, model, collection_id)
        if tenant is None:
            await spaces.set_default(model)


async def retire(settings: Settings, name: str, progress: Progress) -> None:
    """Drop a model's index and its vectors. Run again if it was interrupted."""
    async with _open(settings) as (database, spaces):
        if name in {model.name for model in configured_models(settings)}:
            raise ModelInUseError(name, "the settings name it")
        owner, model = await _owner(settings), await _find(spaces, name)
        await spaces.retire(name)
        try:
            await drop_index(owner, index_name(model.id))
        except IndexBusyError:
            raise _busy(name) from None
        tenants = await list_tenants(database)
        for done, tenant_id in enumerate(tenants, 1):
            last: int | None = 0
            while last is not None:
                last = await spaces.delete_vectors(tenant_id, model, last)
            progress("deleting vectors", done, len(tenants))


async def rebuild(settings: Settings, name: str, progress: Progress, *, only_if_worn: bool) -> bool:
    """Build a model's index anew beside the one in use; False where that is not worthwhile."""
    async with _open(settings) as (database, spaces):
        owner, model = await _owner(settings), await _find(spaces, name)
        if only_if_worn:
            tenants = await list_tenants(database)
            counts = [await spaces.measure(tenant_id, model) for tenant_id in tenants]
            size = await measure_index(owner, index_name(model.id))
            health = _health(model, size, counts)
            if health is not None and not health.is_worn:
                return False

        async def watch(phase: str, done: int, total: int) -> None:
            progress(phase, done, total)

        try:
            await rebuild_index(owner, index_name(model.id), watch)
        except IndexBusyError:
            raise _busy(name) from None
        return True


@asynccontextmanager
async def _open(settings: Settings) -> AsyncGenerator[tuple[Database, SpaceAdministration]]:
    # To count a tenant's passages takes as long as there are many.
    async with (
        open_any_database(settings) as url,
        unhurried_pool(settings, url) as database,
    ):
        yield database, SpaceAdministration(database)


async def _tenants(database: Database, tenant: str | None) -> list[UUID]:
    if tenant is None:
        return await list_tenants(database)
    return [await find_tenant(database, tenant)]


async def _find(spaces: SpaceAdministration, name: str) -> SpaceModel:
    for model in await spaces.list_models():
        if model.name == name:
            return model
    raise NotFoundError("embedding model", name)


async def _owner(settings: Settings) -> str:
    owner = await find_owner_url(settings)
    if owner is None:
        raise OperationError(
            "An index is its owner's: set UNDERCROFT_MIGRATION_URL to the owner's login, as for `undercroft migrate`."
        )
    return owner


def _health(
    model: SpaceModel, size: IndexSize | None, progress: Sequence[SpaceProgress]
) -> IndexHealth | None:
    """None where it has no index that is used."""
    if size is None or not size.is_valid:
        return None
    return IndexHealth(size.index_bytes, sum(it.embedded for it in progress), model.dimensions)


def _busy(name: str) -> UndercroftError:
    return UndercroftError(
        f"Another command is at the index of '{name}'.", kind=ErrorKind.CONFLICT, code="index_busy"
    )

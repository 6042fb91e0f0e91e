"""Builds worn indexes anew, by workers that have the login of their owner; an operator need not look after them.

A rebuild is done only where the index is measured to be worn. Of two workers one has it in hand, under a lease that it
renews and a fence. What ends a worker leaves the index as it was; what was built of the new one the next rebuild drops.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog
from asyncpg import Record

from undercroft.identity.tenants import list_tenants
from undercroft.kit.database import Database
from undercroft.kit.index_upkeep import (
    IndexBusyError,
    connected_owner,
    drop_leftovers,
    measure_index,
    rebuild_index,
)
from undercroft.retrieval.spaces.models import Rebuild, SpaceModel
from undercroft.retrieval.spaces.repository import SpaceRepository
from undercroft.retrieval.spaces.service import SpaceAdministration
from undercroft.retrieval.spaces.upkeep import SMALL, IndexHealth, index_name

_LEASE: Final = timedelta(minutes=2)

_log = structlog.stdlib.get_logger(__name__)


async def find_rebuild(owner_url: str, model: SpaceModel) -> Rebuild | None:
    """The last rebuild of a model's index by a worker; None where there was none."""
    async with connected_owner(owner_url) as owner:
        row = await SpaceRepository().find_rebuild(owner, model.id)
    if row is None:
        return None
    return Rebuild(
        row["begun_at"],
        row["ended_at"],
        row["is_under_way"],
        row["phase"],
        row["done"],
        row["total"],
    )


class RebuildTakenOverError(Exception):
    """Another worker has it by now."""


class IndexRebuilds:
    """Looks after the index of each model that is not retired.

    Args:
        database: Where vectors are counted.
        owner_url: The login of the indexes' owner.
    """

    def __init__(self, database: Database, owner_url: str) -> None:
        self._database = database
        self._owner_url = owner_url
        self._spaces = SpaceAdministration(database)
        self._repository = SpaceRepository()

    async def rebuild_worn(self) -> int:
        """Rebuild the indexes that are worn, one after the other; how many that were."""
        rebuilt = 0
        for model in await self._spaces.list_models():
            if model.retired_at is not None:
                continue
            async with connected_owner(self._owner_url) as owner:
                last = await self._repository.find_rebuild(owner, model.id)
            if await self._is_needed(model, last):
                rebuilt += await self._rebuild(model, 0 if last is None else last["fence"])
            else:
                await self._tidy(model)
        return rebuilt

    async def _tidy(self, model: SpaceModel) -> None:
        """A rebuild that broke off at its very end has left the index that was worn beside the new one."""
        with suppress(IndexBusyError):
            if await drop_leftovers(self._owner_url, index_name(model.id)):
                _log.info("index_leftovers_dropped", model=model.name)

    async def _is_needed(self, model: SpaceModel, last: Record | None) -> bool:
        size = await measure_index(self._owner_url, index_name(model.id))
        # To count takes a look at every vector, so it is done only where something may come of it.
        if size is None or not size.is_valid or size.index_bytes <= SMALL:
            return False
        health = IndexHealth(size.index_bytes, await self._count(model), model.dimensions)
        if not health.is_worn:
            return False
        # One that was built anew and is still larger than was expected would be built for ever.
        return (
            last is None
            or last["index_bytes"] is None
            or health.has_worn_since(
                IndexHealth(last["index_bytes"], last["vectors"], model.dimensions)
            )
        )

    async def _count(self, model: SpaceModel) -> int:
        tenants = await list_tenants(self._database)
        return sum([(await self._spaces.measure(each, model)).embedded for each in tenants])

    async def _rebuild(self, model: SpaceModel, seen: int) -> int:
        async with connected_owner(self._owner_url) as owner:
            # What was measured may be from before another worker's rebuild, which then need not be done once more.
            fence = await self._repository.claim_rebuild(owner, model.id, _LEASE, seen)
            if fence is None:
                return 0

            async def watch(phase: str, done: int, total: int) -> None:
                if not await self._repository.report_rebuild(
                    owner, model.id, fence, phase, done, total, _LEASE
                ):
                    raise RebuildTakenOverError

            name = index_name(model.id)
            _log.info("index_rebuild_begun", model=model.name)
            try:
                await rebuild_index(self._owner_url, name, watch)
            except IndexBusyError:
                # An operator's command is at it.
                await self._repository.release_rebuild(owner, model.id, fence)
                return 0
            except RebuildTakenOverError:
                _log.warning("index_rebuild_taken_over", model=model.name)
                return 0
            size = await measure_index(self._owner_url, name)
            await self._repository.end_rebuild(
                owner,
                model.id,
                fence,
                0 if size is None else size.index_bytes,
                await self._count(model),
            )
        _log.info("index_rebuilt", model=model.name, index_bytes=size and size.index_bytes)
        return 1

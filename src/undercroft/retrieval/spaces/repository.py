"""The statements on embedding models, one method each."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt
from asyncpg import Record

from undercroft.kit.database import Transaction, scope_arguments
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, PooledConnection, load_queries
from undercroft.retrieval.halfvec import render_vector

_QUERIES: Final = load_queries("undercroft.retrieval.spaces")


class SpaceRepository:
    """Which models there are, what is searched with which, and how far each has come."""

    async def list_models(self, transaction: Transaction) -> list[Record]:
        """Every model, in every tenant's use."""
        return await _QUERIES.many(transaction, "list_models")

    async def list_spaces(
        self,
        connection: PooledConnection,
        scope: Scope,
        collection_ids: Sequence[UUID],
        *,
        with_tenant: bool,
    ) -> list[Record]:
        """In which model's space each of the collections, and all else, is searched."""
        return await _QUERIES.many(
            connection, "list_spaces", collection_ids, with_tenant, *scope_arguments(scope)
        )

    async def lock_model(
        self, transaction: Transaction, name: str, dimensions: int | None
    ) -> int | None:
        """The number of a model, which is not retired before the transaction ends."""
        found = await _QUERIES.value(transaction, "lock_model", name, dimensions)
        return cast("int | None", found)

    async def lock_collection(self, transaction: Transaction, collection_id: UUID) -> bool:
        """Keep a collection of the tenant from being deleted; False when there is none."""
        return await _QUERIES.value(transaction, "lock_collection", collection_id) is not None

    async def count_missing(
        self, transaction: Transaction, model_id: int, collection_id: UUID | None
    ) -> int:
        """How many passages, of a collection or of the tenant, have no vector of a model."""
        if collection_id is None:
            return int(await _QUERIES.value(transaction, "count_missing", model_id))
        found = await _QUERIES.value(
            transaction, "count_missing_of_collection", model_id, collection_id
        )
        return int(found)

    async def choose(
        self, transaction: Transaction, model_id: int, collection_id: UUID | None
    ) -> None:
        """Search a collection, or all else of the tenant, with a model."""
        await _QUERIES.execute(transaction, "choose", model_id, collection_id)

    async def forget_choices(self, transaction: Transaction) -> None:
        """Search every collection with the tenant's model."""
        await _QUERIES.execute(transaction, "forget_choices")

    async def set_default(self, transaction: Transaction, name: str) -> bool:
        """Search with a model where nothing was chosen; False when it is retired, or there is none."""
        return bool(await _QUERIES.value(transaction, "set_default", name))

    async def retire(self, transaction: Transaction, name: str) -> bool:
        """Embed nothing by a model any more; False when it is in use, or there is none."""
        return bool(await _QUERIES.value(transaction, "retire", name))

    async def measure(self, transaction: Transaction, model_id: int) -> Record:
        """How many passages the tenant has, how many a model has embedded, and what becomes of the rest."""
        return await _QUERIES.one(transaction, "measure", model_id)

    async def request_backfill(self, transaction: Transaction, model_id: int) -> None:
        """Have a model embed what it has not yet."""
        await _QUERIES.execute(transaction, "request_backfill", model_id)

    async def report_gaps(
        self, transaction: Transaction, written: Sequence[int], configured: Sequence[str]
    ) -> None:
        """Have the models embed what was written without them."""
        await _QUERIES.execute(transaction, "report_gaps", written, configured)

    async def pause(self, transaction: Transaction, model_id: int, *, is_paused: bool) -> None:
        """Stop after the batch that is being embedded, or go on."""
        await _QUERIES.execute(transaction, "pause", model_id, is_paused)

    async def list_open_backfills(self, transaction: Transaction) -> list[Record]:
        """What no worker has in hand, of every tenant."""
        return await _QUERIES.many(transaction, "list_open_backfills")

    async def claim(
        self, transaction: Transaction, model_id: int, lease: timedelta
    ) -> Record | None:
        """Take a backfill in hand; None when it is another's, paused or finished."""
        return await _QUERIES.maybe(transaction, "claim", model_id, lease)

    async def list_to_embed(
        self, transaction: Transaction, model_id: int, after: int, limit: int
    ) -> list[Record]:
        """The next passages without a vector of a model, with their keys."""
        return await _QUERIES.many(transaction, "list_to_embed", model_id, after, limit)

    async def insert_missing(
        self,
        transaction: Transaction,
        model_id: int,
        chunk_ids: Sequence[int],
        vectors: npt.NDArray[np.float32],
    ) -> int:
        """Insert vectors, row for row of ``chunk_ids``; how many of the passages are still there."""
        rendered = [render_vector(vector) for vector in vectors]
        found = await _QUERIES.value(transaction, "insert_missing", model_id, chunk_ids, rendered)
        return int(found)

    async def advance(
        self,
        transaction: Transaction,
        model_id: int,
        fence: int,
        last: int,
        *,
        has_gaps: bool,
        lease: timedelta,
    ) -> Record | None:
        """Come so far; None when the backfill is another's by now."""
        return await _QUERIES.maybe(transaction, "advance", model_id, fence, last, has_gaps, lease)

    async def end_pass(self, transaction: Transaction, model_id: int, fence: int) -> Record | None:
        """All passages were looked at; None when the backfill is another's by now."""
        return await _QUERIES.maybe(transaction, "end_pass", model_id, fence)

    async def release(self, transaction: Transaction, model_id: int, fence: int) -> None:
        """Let any worker take it in hand at once."""
        await _QUERIES.execute(transaction, "release", model_id, fence)

    async def delete_vectors(
        self, transaction: Transaction, model_id: int, after: int, limit: int
    ) -> int | None:
        """Delete a model's vectors of the next passages; the last one's id, None when none was left."""
        last = await _QUERIES.value(transaction, "delete_vectors", model_id, after, limit)
        return cast("int | None", last)

    async def lock_retired_model(self, transaction: Transaction, model_id: int) -> bool:
        """Whether a model is retired, and so stays until the transaction ends."""
        return bool(await _QUERIES.value(transaction, "lock_retired_model", model_id))

    async def find_rebuild(self, owner: AnyConnection, model_id: int) -> Record | None:
        """How the last rebuild of a model's index went, or goes; None where there was none."""
        return await _QUERIES.maybe(owner, "find_rebuild", model_id)

    async def claim_rebuild(
        self, owner: AnyConnection, model_id: int, lease: timedelta, seen: int
    ) -> int | None:
        """Take the rebuild of a model's index in hand; its fence, None where another worker has or had it.

        Args:
            owner: The index's owner.
            model_id: Whose index.
            lease: For how long, unless it is prolonged.
            seen: The last fence before the index was measured; 0 where there was none.
        """
        fence = await _QUERIES.value(owner, "claim_rebuild", model_id, lease, seen)
        return cast("int | None", fence)

    async def report_rebuild(
        self,
        owner: AnyConnection,
        model_id: int,
        fence: int,
        phase: str,
        done: int,
        total: int,
        lease: timedelta,
    ) -> bool:
        """Tell how far it is, and hold it for so long again; False when it is another's by now."""
        held = await _QUERIES.value(
            owner, "report_rebuild", model_id, fence, phase, done, total, lease
        )
        return held is not None

    async def end_rebuild(
        self, owner: AnyConnection, model_id: int, fence: int, index_bytes: int, vectors: int
    ) -> None:
        """It is done: the index has so many bytes for so many vectors."""
        await _QUERIES.execute(owner, "end_rebuild", model_id, fence, index_bytes, vectors)

    async def release_rebuild(self, owner: AnyConnection, model_id: int, fence: int) -> None:
        """Let any worker take it in hand at once."""
        await _QUERIES.execute(owner, "release_rebuild", model_id, fence)

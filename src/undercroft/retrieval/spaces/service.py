"""Which embedding model is searched with, as seen by whoever searches or indexes; and as an operator changes it."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.kit.sql import PooledConnection
from undercroft.ledger.models import LogScope
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.spaces.errors import BackfillIncompleteError, ModelInUseError
from undercroft.retrieval.spaces.models import BackfillState, Space, SpaceModel, SpaceProgress
from undercroft.retrieval.spaces.repository import SpaceRepository

_DELETED: Final = 2_000
"""Passages whose vectors of a retired model one transaction deletes."""


class EmbeddingSpaces:
    """For whoever searches and indexes."""

    def __init__(self) -> None:
        self._repository = SpaceRepository()

    async def find(
        self,
        connection: PooledConnection,
        scope: Scope,
        collection_ids: Sequence[UUID],
        *,
        with_tenant: bool,
    ) -> list[Space]:
        """In which space each of the collections, and all else of the tenant, is searched: each space once."""
        rows = await self._repository.list_spaces(
            connection, scope, collection_ids, with_tenant=with_tenant
        )
        return [Space(row["name"], row["collection_ids"], row["is_of_tenant"]) for row in rows]

    async def lock(self, transaction: Transaction, model: EmbeddingModel) -> int | None:
        """A model's number, while it may be written by: it is not retired before the transaction ends."""
        return await self._repository.lock_model(transaction, model.name, model.dimensions)

    async def report_gaps(
        self, transaction: Transaction, written: Sequence[int], configured: Sequence[str]
    ) -> None:
        """Have the other models embed what is being written with the vectors of some.

        Args:
            transaction: Writes it.
            written: The numbers of the models that have embedded it.
            configured: The names of those that should have.
        """
        await self._repository.report_gaps(transaction, written, configured)


class SpaceAdministration:
    """For the operator, who moves tenants and collections from one model to another."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = SpaceRepository()

    async def list_models(self) -> list[SpaceModel]:
        """The models that the database knows, the oldest first."""
        async with self._database.transaction_without_scope() as transaction:
            return [SpaceModel(**row) for row in await self._repository.list_models(transaction)]

    async def measure(self, tenant_id: UUID, model: SpaceModel) -> SpaceProgress:
        """How far a model is with a tenant's passages."""
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            row = await self._repository.measure(transaction, model.id)
        state = BackfillState.RUNNING
        if row["is_paused"] is None:
            state = BackfillState.NONE
        elif row["finished_at"] is not None:
            state = BackfillState.FINISHED
        elif row["is_paused"]:
            state = BackfillState.PAUSED
        return SpaceProgress(tenant_id, model.name, row["passages"], row["embedded"], state)

    async def begin_backfill(self, tenant_id: UUID, model: str) -> None:
        """Have a model embed what of the tenant it has not yet; what was paused goes on.

        Raises:
            NotFoundError: When there is no such model, or it is retired.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            model_id = await self._lock(transaction, model)
            await self._repository.request_backfill(transaction, model_id)

    async def pause_backfill(self, tenant_id: UUID, model: str) -> None:
        """Let it rest after the batch that is being embedded.

        Raises:
            NotFoundError: When there is no such model, or it is retired.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            model_id = await self._lock(transaction, model)
            await self._repository.pause(transaction, model_id, is_paused=True)

    async def require_complete(
        self, tenant_id: UUID, model: str, collection_id: UUID | None = None
    ) -> None:
        """Find out whether what is to be searched was embedded by a model.

        Raises:
            NotFoundError: When there is no such model or collection, or the model is retired.
            BackfillIncompleteError: When it was not.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            await self._lock_complete(transaction, model, collection_id)

    async def switch(self, tenant_id: UUID, model: str, collection_id: UUID | None = None) -> None:
        """Search a collection with a model, or everything of a tenant, from the next search on.

        What is written without a vector of it from now on is embedded by the backfill: see
        :meth:`EmbeddingSpaces.report_gaps`.

        Raises:
            NotFoundError: When there is no such model or collection, or the model is retired.
            BackfillIncompleteError: When it has not embedded all of it yet.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            model_id = await self._lock_complete(transaction, model, collection_id)
            await self._repository.choose(transaction, model_id, collection_id)
            if collection_id is None:
                await self._repository.forget_choices(transaction)

    async def set_default(self, model: str) -> None:
        """Search with a model what no tenant has chosen another for: the tenants to come.

        Raises:
            NotFoundError: When there is no such model, or it is retired.
        """
        async with self._database.transaction_without_scope() as transaction:
            if not await self._repository.set_default(transaction, model):
                raise NotFoundError("embedding model", model)

    async def retire(self, model: str) -> None:
        """Embed nothing by a model any more, and let nobody choose it.

        Raises:
            ModelInUseError: When anything is searched with it, or there is none.
        """
        async with self._database.transaction_without_scope() as transaction:
            if not await self._repository.retire(transaction, model):
                raise ModelInUseError(
                    model, "something is searched with it, or there is no such model"
                )

    async def delete_vectors(self, tenant_id: UUID, model: SpaceModel, after: int) -> int | None:
        """Delete a retired model's vectors of the next passages; where to go on, None when none was left.

        Raises:
            ModelInUseError: When `undercroft migrate` has brought it back: then it embeds again.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            if not await self._repository.lock_retired_model(transaction, model.id):
                raise ModelInUseError(
                    model.name,
                    "`undercroft migrate` has brought it back; run that once more, for its index, or retire it again",
                )
            return await self._repository.delete_vectors(transaction, model.id, after, _DELETED)

    async def _lock(self, transaction: Transaction, model: str) -> int:
        model_id = await self._repository.lock_model(transaction, model, None)
        if model_id is None:
            raise NotFoundError("embedding model", model)
        return model_id

    async def _lock_complete(
        self, transaction: Transaction, model: str, collection_id: UUID | None
    ) -> int:
        model_id = await self._lock(transaction, model)
        if collection_id is not None and not await self._repository.lock_collection(
            transaction, collection_id
        ):
            raise NotFoundError("vector store", render_id(COLLECTION_PREFIX, collection_id))
        missing = await self._repository.count_missing(transaction, model_id, collection_id)
        if missing:
            raise BackfillIncompleteError(model, missing)
        return model_id

"""Whom things are about: their owners say it, and from then on sharing them takes that person's consent."""

from typing import Final
from uuid import UUID

from asyncpg import RestrictViolationError

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.sharing.consents.errors import MixedSubjectsError
from undercroft.sharing.consents.repository import ConsentRepository
from undercroft.sharing.models import Resource, ResourceKind
from undercroft.sharing.service import GrantService, no_resource, subject_of

_ACTIONS: Final[dict[ResourceKind, Action]] = {
    ResourceKind.DOCUMENT: "document.mark",
    ResourceKind.COLLECTION: "collection.mark",
    ResourceKind.RECORD: "record.mark",
}


class DataSubjects:
    """Marks documents, collections and records.

    Args:
        database: Where they are.
        grants: End with it, where nobody agreed to them.
        ledger: Where it is put on record.
    """

    def __init__(self, database: Database, grants: GrantService, ledger: Ledger) -> None:
        self._database = database
        self._grants = grants
        self._ledger = ledger
        self._repository = ConsentRepository()

    async def get(self, scope: Scope, resource: Resource) -> UUID | None:
        """Whom a thing of the principal's is about; None when it is not personal.

        Raises:
            NotFoundError: When the principal owns no such thing.
        """
        async with self._database.transaction(scope) as transaction:
            await self._require_owner(transaction, scope, resource)
            return await self._repository.data_subject_of(transaction, resource.id)

    async def mark(self, scope: Scope, resource: Resource, email: str | None) -> UUID | None:
        """Say whom a thing is about. Grants of it that they did not agree to end at once.

        Args:
            scope: Its owner's.
            resource: A document, a collection or a record.
            email: A user of the tenant; None for its owner.

        Raises:
            NotFoundError: When the principal owns no such thing.
            InvalidRequestError: When nobody in the tenant has that address.
            MixedSubjectsError: When a document and a vector store that it is in would be about different people.
        """
        async with self._database.transaction(scope) as transaction:
            await self._lock(transaction, resource)
            subject_id = scope.principal_id
            if email is not None:
                found = await self._repository.find_user(transaction, email.lower())
                if found is None:
                    raise InvalidRequestError(
                        "Nobody in this tenant has that address.", param="subject"
                    )
                subject_id = found
            return await self._set(transaction, scope, resource, subject_id)

    async def unmark(self, scope: Scope, resource: Resource) -> UUID | None:
        """Say that a thing is about nobody, or a record about its owner.

        Returns:
            Whom it is about now: a record's personal fields stay personal.

        Raises:
            NotFoundError: When the principal owns no such thing.
            MixedSubjectsError: When personal documents are in a vector store that is to be about nobody.
        """
        async with self._database.transaction(scope) as transaction:
            await self._lock(transaction, resource)
            return await self._set(transaction, scope, resource, None)

    async def _lock(self, transaction: Transaction, resource: Resource) -> None:
        if resource.kind not in _ACTIONS or not await self._repository.lock_resource(
            transaction, resource.id
        ):
            raise no_resource(resource)

    async def _require_owner(
        self, transaction: Transaction, scope: Scope, resource: Resource
    ) -> None:
        shared = await self._grants.get_resource(transaction, resource)
        if shared.owner_id != scope.principal_id:
            raise no_resource(resource)

    async def _set(
        self, transaction: Transaction, scope: Scope, resource: Resource, subject_id: UUID | None
    ) -> UUID | None:
        shared = await self._grants.get_resource(transaction, resource)
        before = await self._grants.list_running(transaction, resource)
        try:
            await self._repository.mark(transaction, resource, subject_id)
        except RestrictViolationError as error:
            raise MixedSubjectsError from error
        act = Act(_ACTIONS[resource.kind], subject_of(shared), shared.owner_id)
        await self._ledger.append(transaction, scope, act)
        after = set(await self._grants.list_running(transaction, resource))
        ended = [grant_id for grant_id in before if grant_id not in after]
        await self._grants.record_ended(transaction, scope, shared, ended)
        return await self._repository.data_subject_of(transaction, resource.id)

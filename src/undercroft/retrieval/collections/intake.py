"""Puts documents into a collection that is locked: memberships, their contents' state and the jobs that index them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from uuid import UUID

from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError, at_fault
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act
from undercroft.retrieval.collections.errors import DocumentSealedError
from undercroft.retrieval.collections.journal import document_act
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.retrieval.index.service import IndexService
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import EVERY_ACTION
from undercroft.vault.models import DOCUMENT_PREFIX

MemberAttributes: TypeAlias = Mapping[str, str | float | bool]

_ADD: Final = (GrantAction.SHARE, *EVERY_ACTION)
"""Whoever may do any of these with a document is told that adding it takes the first."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A document that is to be put into a collection.

    Attributes:
        param: The request's field that names the document, for what is wrong with it.
    """

    document_id: UUID
    attributes: MemberAttributes
    param: str


class MemberIntake:
    """Adds documents, each as what the principal may do with it allows."""

    def __init__(self, index: IndexService) -> None:
        self._index = index
        self._uses = GrantUses()
        self._repository = CollectionRepository()

    async def add(
        self,
        transaction: Transaction,
        scope: Scope,
        collection_id: UUID,
        additions: Sequence[Addition],
    ) -> list[Act]:
        """Add documents, each once, or replace the attributes of members; what goes on record of the documents.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and not share it.
            GrantEndedError: When the grant to share one ended meanwhile.
            DocumentSealedError: When one of them is sealed.
        """
        contents: set[UUID] = set()
        acts: list[Act] = []
        # All documents are locked, in order, before any content: a delete takes them in the same order, and so neither
        # waits for what the other holds.
        for addition in sorted(additions, key=lambda each: each.document_id):
            with at_fault(addition.param):
                content, act = await self._insert(transaction, scope, collection_id, addition)
            contents.add(content)
            acts.append(act)
        for content in sorted(contents):
            await self._index.request(transaction, scope, content)
        return acts

    async def _insert(
        self, transaction: Transaction, scope: Scope, collection_id: UUID, addition: Addition
    ) -> tuple[UUID, Act]:
        """Add a document; the content that is to be indexed, and what goes on record of the document."""
        document_id = addition.document_id
        document = await self._repository.lock_document(transaction, document_id, _ADD)
        if document is None:
            raise NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))
        grant_id = None
        if document["owner_id"] != scope.principal_id:
            grant_id = await self._repository.find_grant_to_share(transaction, document_id)
            if grant_id is None:
                raise NotGrantedError(GrantAction.SHARE)
            await self._uses.hold_to_share(transaction, grant_id)
        if document["is_sealed"]:
            raise DocumentSealedError
        content = await self._repository.insert_member(
            transaction, collection_id, document_id, addition.attributes, grant_id
        )
        act = document_act(
            "document.add_to_collection",
            document_id,
            document["owner_id"],
            document["salt"],
            document["current_version"],
        )
        if grant_id is not None:
            act = replace(act, grant_id=grant_id, purpose=scope.purpose)
        return content, act

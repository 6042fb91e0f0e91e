"""A model that is shown an earlier answer is shown what that was made from: an answer from each document, on record."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from undercroft.chat.uses.errors import MOST_INHERITED, TooManySourcesError
from undercroft.chat.uses.repository import PassageOf, UseRepository
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import Release
from undercroft.sharing.ways import acts_under
from undercroft.vault.models import DOCUMENT_PREFIX


class InheritedUses:
    """Puts on record what an answer uses through the turns before it.

    Args:
        ledger: Where.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._repository = UseRepository()

    async def inherit(
        self, transaction: Transaction, response_id: UUID, passages: Sequence[PassageOf]
    ) -> None:
        """Record what a response is made from through the turns before it, in the place of what was so recorded.

        Raises:
            TooManySourcesError: When it is more than it may rest on: each rests on all that those before it did.
        """
        if len(passages) > MOST_INHERITED:
            raise TooManySourcesError
        await self._repository.forget_inherited(transaction, response_id)
        await self._repository.insert_inherited(transaction, response_id, passages)

    async def record(
        self, transaction: Transaction, scope: Scope, releases: Iterable[Release]
    ) -> None:
        """One entry for each document version and each grant that it is used by.

        As many as there are of those, and so no more than passages are inherited: see ``MOST_INHERITED``.

        Args:
            transaction: Which holds the documents, and before whose commit no model is asked.
            scope: Who asks.
            releases: What the turns that a model is shown were made from.
        """
        used = {(each.document_id, each.version, each.way) for each in releases}
        ids = {document_id for document_id, _, _ in used if document_id is not None}
        if not ids:
            return
        rows = await self._repository.list_documents(transaction, sorted(ids))
        documents = {row["id"]: row for row in rows}
        acts = [
            act
            for document_id, version, way in used
            if document_id is not None
            for act in acts_under(
                scope,
                way,
                Act(
                    "document.answer",
                    Subject(
                        render_id(DOCUMENT_PREFIX, document_id), documents[document_id]["salt"]
                    ),
                    documents[document_id]["owner_id"],
                    version,
                ),
            )
        ]
        await self._ledger.append(transaction, scope, *acts)

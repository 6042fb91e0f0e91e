"""The comments' statements, one method each."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import GrantAction

_QUERIES: Final = load_queries("undercroft.vault.comments")


class CommentRepository:
    """Reads and writes comments, encrypted as they are, as far as the principal may."""

    async def find_room(self, transaction: Transaction, document_id: UUID) -> Record | None:
        """The key of a document that the caller may comment on, and how many comments it has."""
        return await _QUERIES.maybe(transaction, "find_room", document_id)

    async def insert_comment(
        self,
        transaction: Transaction,
        document_id: UUID,
        comment_id: UUID,
        version: int | None,
        sealed_text: bytes,
    ) -> Record | None:
        """Keep a comment; None when the caller may not write it on that version."""
        return await _QUERIES.maybe(
            transaction, "insert_comment", document_id, comment_id, version, sealed_text
        )

    async def list_comments(
        self,
        transaction: Transaction,
        document_id: UUID,
        actions: Sequence[GrantAction],
        after: UUID | None,
        limit: int,
    ) -> list[Record]:
        """Some comments, the oldest first; nothing when the principal does not come to the document."""
        return await _QUERIES.many(
            transaction, "list_comments", document_id, list(actions), after, limit
        )

    async def delete_comment(
        self,
        transaction: Transaction,
        document_id: UUID,
        comment_id: UUID,
        actions: Sequence[GrantAction],
    ) -> int | None:
        """Delete a comment that is the caller's, or on a document of theirs; which version it was on."""
        row = await _QUERIES.maybe(
            transaction, "delete_comment", document_id, comment_id, list(actions)
        )
        return None if row is None else cast("int", row["document_version"])

    async def find_comment(
        self,
        transaction: Transaction,
        document_id: UUID,
        comment_id: UUID,
        actions: Sequence[GrantAction],
    ) -> bool:
        """Whether the caller can see that there is such a comment."""
        row = await _QUERIES.maybe(
            transaction, "find_comment", document_id, comment_id, list(actions)
        )
        return row is not None

"""Statements on verification links, one method each."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Scope, Transaction
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.verification.links.models import CreatorScope, ReadableDocument, VerificationLink

_QUERIES: Final = load_queries("undercroft.verification.links")


class VerificationLinkRepository:
    """Keeps links, and reads what they are to."""

    async def insert_link(
        self,
        transaction: Transaction,
        scope: Scope,
        link_id: UUID,
        document_id: UUID,
        number: int,
        token_hash: bytes,
        lifetime: timedelta,
    ) -> VerificationLink:
        """Keep a link."""
        row = await _QUERIES.one(
            transaction,
            "insert_link",
            link_id,
            scope.purpose,
            document_id,
            number,
            token_hash,
            lifetime,
        )
        return VerificationLink(
            link_id, document_id, number, row["created_at"], row["expires_at"], None
        )

    async def list_links(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[VerificationLink]:
        """The links that the caller made, the oldest first."""
        rows = await _QUERIES.many(transaction, "list_links", after, limit)
        return [VerificationLink(*row.values()) for row in rows]

    async def revoke_link(self, transaction: Transaction, link_id: UUID) -> Record | None:
        """End a link that the caller made: what it is of; None when they made none such."""
        return await _QUERIES.maybe(transaction, "revoke_link", link_id)

    async def find_creator_scope(
        self, connection: AnyConnection, token_hash: bytes
    ) -> CreatorScope | None:
        """By whose right a token counts."""
        row = await _QUERIES.maybe(connection, "find_creator_scope", token_hash)
        if row is None:
            return None
        return CreatorScope(row["link_id"], row["tenant_id"], row["creator_id"], row["purpose"])

    async def find_link(self, transaction: Transaction, link_id: UUID) -> Record | None:
        """A link as it is now."""
        return await _QUERIES.maybe(transaction, "find_link", link_id)

    async def find_readable(
        self, transaction: Transaction, document_id: UUID
    ) -> ReadableDocument | None:
        """A document that the transaction's principal may read; None when they may not."""
        row = await _QUERIES.maybe(transaction, "find_readable", document_id)
        if row is None:
            return None
        way = choose_way(read_ways(row["ways"]))
        return ReadableDocument(document_id, row["owner_id"], row["salt"], way)

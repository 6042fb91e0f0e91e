"""Statements that hold proofs against what is kept, one method each."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Scope, Transaction
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.verification.links import LinkScope, ReadableDocument, VerificationLink

_QUERIES: Final = load_queries("undercroft.verification")


class VerificationRepository:
    """Reads what proofs are about."""

    async def find_version(
        self, transaction: Transaction, document_id: UUID, number: int
    ) -> Record | None:
        """A version of a document, with the keys of its digest."""
        return await _QUERIES.maybe(transaction, "find_version", document_id, number)

    async def find_commitment(
        self, transaction: Transaction, reference: str, number: int
    ) -> Record:
        """The first entry that commits to the content of a version, or whether one waits for its number."""
        return await _QUERIES.one(transaction, "find_commitment", reference, number)

    async def find_leaf(self, transaction: Transaction, position: int) -> bytes | None:
        """The bytes of the log's entry at a position."""
        return cast("bytes | None", await _QUERIES.value(transaction, "find_leaf", position))

    async def find_consent(self, transaction: Transaction, consent_id: UUID) -> Record | None:
        """A consent as it is now."""
        return await _QUERIES.maybe(transaction, "find_consent", consent_id)

    async def is_answer_kept(self, transaction: Transaction, response_id: UUID) -> bool:
        """Whether an answer is there and can be read."""
        return bool(await _QUERIES.value(transaction, "is_answer_kept", response_id))

    async def list_grants(
        self, transaction: Transaction, grant_ids: Sequence[UUID]
    ) -> dict[UUID, Record]:
        """Those of the grants that are there, by their ids."""
        rows = await _QUERIES.many(transaction, "list_grants", grant_ids)
        return {row["id"]: row for row in rows}

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

    async def find_link_scope(
        self, connection: AnyConnection, token_hash: bytes
    ) -> LinkScope | None:
        """By whose right a token counts."""
        row = await _QUERIES.maybe(connection, "find_link_scope", token_hash)
        if row is None:
            return None
        return LinkScope(row["link_id"], row["tenant_id"], row["creator_id"], row["purpose"])

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

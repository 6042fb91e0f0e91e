"""Statements on verification links, one method each."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.records.access import read_record_access
from undercroft.verification.links.models import (
    KIND_OF_RESOURCE,
    CreatorScope,
    Readable,
    ReadableRecord,
    Target,
    VerificationLink,
)

_QUERIES: Final = load_queries("undercroft.verification.links")
_RESOURCES: Final = {kind: resource for resource, kind in KIND_OF_RESOURCE.items()}


class VerificationLinkRepository:
    """Keeps links, and reads what they are to."""

    async def insert_link(
        self,
        transaction: Transaction,
        scope: Scope,
        link_id: UUID,
        target: Target,
        token_hash: bytes,
        lifetime: timedelta,
    ) -> VerificationLink:
        """Keep a link."""
        row = await _QUERIES.one(
            transaction,
            "insert_link",
            link_id,
            scope.purpose,
            _RESOURCES[target.kind],
            target.document_id,
            target.record_id,
            target.fields,
            target.version,
            token_hash,
            lifetime,
        )
        return VerificationLink(link_id, target, row["created_at"], row["expires_at"], None)

    async def list_links(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[VerificationLink]:
        """The links that the caller made, the oldest first."""
        rows = await _QUERIES.many(transaction, "list_links", after, limit)
        return [
            VerificationLink(
                row["id"],
                _read_target(row),
                row["created_at"],
                row["expires_at"],
                row["revoked_at"],
            )
            for row in rows
        ]

    async def revoke_link(self, transaction: Transaction, link_id: UUID) -> Target | None:
        """End a link that the caller made: what it is to; None when they made none such."""
        row = await _QUERIES.maybe(transaction, "revoke_link", link_id)
        return None if row is None else _read_target(row)

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

    async def find_readable(self, transaction: Transaction, document_id: UUID) -> Readable | None:
        """A document that the transaction's principal may read; None when they may not."""
        row = await _QUERIES.maybe(transaction, "find_readable", document_id)
        if row is None:
            return None
        way = choose_way(read_ways(row["ways"]))
        return Readable(render_id(DOCUMENT_PREFIX, document_id), row["owner_id"], row["salt"], way)

    async def find_readable_record(
        self, transaction: Transaction, record_id: UUID, number: int
    ) -> ReadableRecord | None:
        """A version of a record of which the transaction's principal may read something; None when they may not."""
        row = await _QUERIES.maybe(transaction, "find_readable_record", record_id, number)
        if row is None or (row["ways"] is None and not row["is_own"]):
            return None
        access = read_record_access(row["ways"])
        return ReadableRecord(record_id, row["owner_id"], row["salt"], access)


def _read_target(row: Record) -> Target:
    """What a link's row says that it is to."""
    return Target(
        KIND_OF_RESOURCE[row["kind"]],
        row["version"],
        row["document_id"],
        row["record_id"],
        row["fields"],
    )

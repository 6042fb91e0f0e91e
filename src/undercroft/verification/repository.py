"""Statements that hold proofs against what is kept, one method each."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

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

    async def list_record_parts(
        self, transaction: Transaction, record_id: UUID, number: int
    ) -> list[Record]:
        """The parts of a version of a record, with their keys."""
        return await _QUERIES.many(transaction, "list_record_parts", record_id, number)

    async def find_version_entry(
        self, transaction: Transaction, reference: str, number: int
    ) -> Record:
        """The first entry that commits to a version, and its bytes; NULLs when there is none."""
        return await _QUERIES.one(transaction, "find_version_entry", reference, number)

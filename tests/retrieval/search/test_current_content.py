"""The content by which a document is searched is its current version's, whatever a statement says."""

from uuid import UUID

import pytest

from tests import rows
from tests.conftest import MakeScope, Member
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource

IDS = IdSource()


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


async def content_of(transaction: Transaction, document: UUID) -> UUID | None:
    found: UUID | None = await transaction.fetchval(
        "SELECT current_blob_id FROM documents WHERE id = $1", document
    )
    return found


async def add_version(
    transaction: Transaction, ann: Member, document: UUID, number: int, blob: UUID
) -> None:
    await transaction.execute(
        "INSERT INTO document_versions (tenant_id, document_id, number, blob_id) VALUES ($1, $2, $3, $4)",
        ann.tenant_id,
        document,
        number,
        blob,
    )


async def test_it_follows_the_current_version(database: Database, ann: Member) -> None:
    async with database.transaction(ann) as transaction:
        first, second = [await rows.insert_blob(transaction, ann) for _ in range(2)]
        document = await rows.insert_document(transaction, ann, first)
        assert await content_of(transaction, document) == first
        await add_version(transaction, ann, document, 2, second)
        assert await content_of(transaction, document) == first, "it is not current yet"
        await transaction.execute(
            "UPDATE documents SET current_version = 2 WHERE id = $1", document
        )
        assert await content_of(transaction, document) == second


async def test_no_statement_sets_it(database: Database, ann: Member) -> None:
    async with database.transaction(ann) as transaction:
        first, other = [await rows.insert_blob(transaction, ann) for _ in range(2)]
        document = await rows.insert_document(transaction, ann, first)
        await transaction.execute(
            "UPDATE documents SET current_blob_id = $2 WHERE id = $1", document, other
        )
        assert await content_of(transaction, document) == first
        made: UUID = await transaction.fetchval(
            "INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name, current_blob_id)"
            " SELECT $1, tenant_id, owner_id, purpose, data_key_id, sealed_name, $3 FROM documents WHERE id = $2"
            " RETURNING id",
            IDS.new(),
            document,
            other,
        )
        assert await content_of(transaction, made) is None, "it has no version"
        await add_version(transaction, ann, made, 1, first)
        assert await content_of(transaction, made) == first

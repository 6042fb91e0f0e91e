"""Rows with keys that open nothing, for tests of statements that never look inside."""

import random
from uuid import UUID

from tests.conftest import Member
from undercroft.kit.database import Transaction
from undercroft.kit.ids import IdSource

_IDS = IdSource()


async def insert_key(transaction: Transaction, scope: Member) -> UUID:
    """A data key of the tenant, and the tenant's key when it has none."""
    await transaction.execute(
        "INSERT INTO tenant_keys (id, tenant_id, number, wrapped_key, is_current) VALUES ($1, $2, 1, $3, true)"
        " ON CONFLICT DO NOTHING",
        _IDS.new(),
        scope.tenant_id,
        random.randbytes(60),
    )
    key_id: UUID = await transaction.fetchval(
        "INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)"
        " SELECT $1, t.tenant_id, t.id, $2, $3 FROM tenant_keys AS t WHERE t.is_current RETURNING id",
        _IDS.new(),
        random.randbytes(60),
        random.randbytes(32),
    )
    return key_id


async def insert_blob(transaction: Transaction, scope: Member) -> UUID:
    """A content of the principal's."""
    blob_id = _IDS.new()
    await transaction.execute(
        "INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256,"
        " stored_name) VALUES ($1, $2, $3, $4, 1, 'text/plain', $5, '', $4)",
        blob_id,
        scope.tenant_id,
        scope.principal_id,
        random.randbytes(32),
        await insert_key(transaction, scope),
    )
    return blob_id


async def insert_document(transaction: Transaction, scope: Member, blob_id: UUID) -> UUID:
    """A document of the principal's with one version."""
    document_id = _IDS.new()
    await transaction.execute(
        "INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)"
        " VALUES ($1, $2, $3, 'user_data', $4, '')",
        document_id,
        scope.tenant_id,
        scope.principal_id,
        await insert_key(transaction, scope),
    )
    await transaction.execute(
        "INSERT INTO document_versions (tenant_id, document_id, number, blob_id) VALUES ($1, $2, 1, $3)",
        scope.tenant_id,
        document_id,
        blob_id,
    )
    return document_id


async def insert_collection(
    transaction: Transaction, scope: Member, collection_id: UUID | None = None
) -> UUID:
    """An empty collection of the principal's."""
    collection_id = collection_id or _IDS.new()
    await transaction.execute(
        "INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name) VALUES ($1, $2, $3, $4, '')",
        collection_id,
        scope.tenant_id,
        scope.principal_id,
        await insert_key(transaction, scope),
    )
    return collection_id

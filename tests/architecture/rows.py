"""One row for every tenant table, inserted in this order under a scope; each object has the principal's own id."""

from typing import Final

ROWS: Final = {
    "api_keys": """
        INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash)
        SELECT u.id, u.tenant_id, u.id, 'uk_00000000', sha256(uuid_send(u.id)) FROM users AS u
    """,
    "blobs": """
        INSERT INTO blobs (id, tenant_id, owner_id, digest, byte_size, media_type)
        SELECT u.id, u.tenant_id, u.id, sha256(uuid_send(u.id)), 1, 'text/plain' FROM users AS u
    """,
    "documents": """
        INSERT INTO documents (id, tenant_id, owner_id, filename, purpose)
        SELECT u.id, u.tenant_id, u.id, 'a.txt', 'assistants' FROM users AS u
    """,
    "document_versions": """
        INSERT INTO document_versions (tenant_id, document_id, number, blob_id)
        SELECT u.tenant_id, u.id, 1, u.id FROM users AS u
    """,
    "collections": """
        INSERT INTO collections (id, tenant_id, owner_id, name)
        SELECT u.id, u.tenant_id, u.id, 'c' FROM users AS u
    """,
    "collection_documents": """
        INSERT INTO collection_documents (tenant_id, collection_id, document_id)
        SELECT u.tenant_id, u.id, u.id FROM users AS u
    """,
    "chunks": """
        INSERT INTO chunks (
            tenant_id, blob_id, ordinal, start_offset, end_offset, headings, text, token_count, lexemes, terms
        )
        SELECT u.tenant_id, u.id, 0, 0, 1, '{}', 'a', 1, 'a:1', '{}/1000000000' FROM users AS u
    """,
    "chunk_embeddings": """
        INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
        SELECT m.id, c.id, c.tenant_id, c.blob_id, '[1,0,0]' FROM chunks AS c CROSS JOIN embedding_models AS m
    """,
    "jobs": """
        INSERT INTO jobs (id, tenant_id, owner_id, kind, payload, max_attempts)
        SELECT u.id, u.tenant_id, u.id, 'test', '{}', 1 FROM users AS u
    """,
    "responses": """
        INSERT INTO responses (id, tenant_id, owner_id, status, resource)
        SELECT u.id, u.tenant_id, u.id, 'completed', '{}' FROM users AS u
    """,
    "response_passages": """
        INSERT INTO response_passages (
            tenant_id, response_id, number, document_id, document_version, start_offset, end_offset, score
        )
        SELECT u.tenant_id, u.id, 1, u.id, 1, 0, 1, 1 FROM users AS u
    """,
}

FILLED_BY_OTHERS: Final = ("tenants", "users", "term_statistics", "corpus_statistics")
"""Tables that the scope itself and the trigger on ``chunks`` fill."""

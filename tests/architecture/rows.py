"""One row for every tenant table, inserted in this order under a scope; each object has the principal's own id."""

from typing import Final

ROWS: Final = {
    "tenant_keys": """
        INSERT INTO tenant_keys (id, tenant_id, number, wrapped_key, is_current)
        SELECT u.id, u.tenant_id, 1, sha256('key'), true FROM users AS u
    """,
    "data_keys": """
        INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)
        SELECT u.id, u.tenant_id, u.id, convert_to(repeat('k', 60), 'UTF8'), sha256('salt') FROM users AS u
    """,
    "lookup_keys": """
        INSERT INTO lookup_keys (tenant_id, data_key_id) SELECT u.tenant_id, u.id FROM users AS u
    """,
    "ledger_keys": """
        INSERT INTO ledger_keys (tenant_id, number, name, public_key, wrapped_private_key)
        SELECT u.tenant_id, 1, 'log', sha256('public'), '' FROM users AS u
    """,
    "ledger_pending": """
        INSERT INTO ledger_pending (
            tenant_id, id, occurred_at, actor_id, owner_id, action, resource, outcome, leaf
        )
        SELECT u.tenant_id, u.id, now(), u.id, u.id, 'document.read', 'file-1', 'denied', 'leaf' FROM users AS u
    """,
    "api_keys": """
        INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash)
        SELECT u.id, u.tenant_id, u.id, 'uk_00000000', sha256(uuid_send(u.id)) FROM users AS u
    """,
    "open_sign_ups": """
        INSERT INTO open_sign_ups (tenant_id, admin_id) SELECT u.tenant_id, u.id FROM users AS u
    """,
    "passwords": """
        INSERT INTO passwords (user_id, tenant_id, encoded) SELECT u.id, u.tenant_id, '$argon2id$' FROM users AS u
    """,
    "sessions": """
        INSERT INTO sessions (id, tenant_id, user_id, family_hash, token_hash, expires_at, ends_at)
        SELECT u.id, u.tenant_id, u.id, sha256(uuid_send(u.id)), sha256('token'), now(), now() FROM users AS u
    """,
    "mail_codes": """
        INSERT INTO mail_codes (id, tenant_id, user_id, purpose, code_hash, expires_at)
        SELECT u.id, u.tenant_id, u.id, 'invitation', sha256(uuid_send(u.id)), now() FROM users AS u
    """,
    "attempts": """
        INSERT INTO attempts (tenant_id, subject) SELECT u.tenant_id, sha256('subject') FROM users AS u
    """,
    "access_tokens": """
        INSERT INTO access_tokens (id, tenant_id, user_id, token_hash, expires_at)
        SELECT u.id, u.tenant_id, u.id, sha256(uuid_send(u.id)), now() FROM users AS u
    """,
    "groups": """
        INSERT INTO groups (id, tenant_id, name) SELECT u.id, u.tenant_id, 'readers' FROM users AS u
    """,
    "group_members": """
        INSERT INTO group_members (tenant_id, group_id, user_id) SELECT u.tenant_id, u.id, u.id FROM users AS u
    """,
    "quotas": """
        INSERT INTO quotas (tenant_id, kind, subject_id, period, most_requests)
        SELECT u.tenant_id, 'tenant', u.tenant_id, 'day', 1 FROM users AS u
    """,
    "quota_windows": """
        INSERT INTO quota_windows (tenant_id, subject_id, period, started_at, requests, tokens)
        SELECT u.tenant_id, u.tenant_id, 'day', now(), 1, 1 FROM users AS u
    """,
    "metered_requests": """
        INSERT INTO metered_requests (
            id, tenant_id, user_id, model, reserved_tokens, held_subjects, held_periods, held_since
        )
        SELECT u.id, u.tenant_id, u.id, 'extractive', 1, '{}', '{}', '{}' FROM users AS u
    """,
    "usage_days": """
        INSERT INTO metered_requests (
            id, tenant_id, user_id, model, reserved_tokens, held_subjects, held_periods, held_since, ended_at,
            settled_at
        )
        SELECT u.tenant_id, u.tenant_id, u.id, 'extractive', 1, '{}', '{}', '{}', now(), now() FROM users AS u;
        SELECT add_up_usage(100)
    """,
    "issuers": """
        INSERT INTO issuers (
            id, tenant_id, url, audience, algorithms, subject_claim, creates_users, trusts_addresses
        )
        SELECT
            u.id, u.tenant_id, 'https://issuer.example', 'tenant_' || replace(u.tenant_id::text, '-', ''), '{ES256}',
            'sub', true, false
        FROM users AS u
    """,
    "issuer_users": """
        INSERT INTO issuer_users (tenant_id, issuer, subject, user_id)
        SELECT u.tenant_id, 'https://issuer.example', 'ann', u.id FROM users AS u
    """,
    "blobs": """
        INSERT INTO blobs (
            id, tenant_id, owner_id, digest, byte_size, media_type, data_key_id, sealed_sha256, stored_name
        )
        SELECT u.id, u.tenant_id, u.id, sha256(uuid_send(u.id)), 1, 'text/plain', u.id, '', sha256('name')
        FROM users AS u
    """,
    "documents": """
        INSERT INTO documents (id, tenant_id, owner_id, purpose, data_key_id, sealed_name)
        SELECT u.id, u.tenant_id, u.id, 'assistants', u.id, '' FROM users AS u
    """,
    "document_versions": """
        INSERT INTO document_versions (tenant_id, document_id, number, blob_id)
        SELECT u.tenant_id, u.id, 1, u.id FROM users AS u
    """,
    "document_comments": """
        INSERT INTO document_comments (id, tenant_id, document_id, document_version, author_id, sealed_text)
        SELECT u.id, u.tenant_id, u.id, 1, u.id, '' FROM users AS u
    """,
    "uploads": """
        INSERT INTO uploads (id, tenant_id, owner_id, purpose, byte_size, data_key_id, sealed_name)
        SELECT u.id, u.tenant_id, u.id, 'assistants', 1, u.id, '' FROM users AS u
    """,
    "upload_parts": """
        INSERT INTO upload_parts (id, tenant_id, owner_id, upload_id, byte_size, data_key_id, stored_name)
        SELECT u.id, u.tenant_id, u.id, u.id, 1, u.id, sha256('name') FROM users AS u
    """,
    "outgoing_mail": """
        INSERT INTO outgoing_mail (id, tenant_id, data_key_id, sealed_message)
        SELECT u.id, u.tenant_id, u.id, '' FROM users AS u
    """,
    "second_factors": """
        INSERT INTO second_factors (user_id, tenant_id, data_key_id, sealed_secret)
        SELECT u.id, u.tenant_id, u.id, '' FROM users AS u
    """,
    "recovery_codes": """
        INSERT INTO recovery_codes (tenant_id, user_id, code_hash)
        SELECT u.tenant_id, u.id, sha256('code') FROM users AS u
    """,
    "sign_in_challenges": """
        INSERT INTO sign_in_challenges (challenge_hash, tenant_id, user_id, expires_at)
        SELECT sha256(uuid_send(u.id)), u.tenant_id, u.id, now() FROM users AS u
    """,
    "second_factor_demands": """
        INSERT INTO second_factor_demands (tenant_id) SELECT u.tenant_id FROM users AS u
    """,
    "idempotency_keys": """
        INSERT INTO idempotency_keys (id, tenant_id, principal_id, route, key_digest)
        SELECT u.id, u.tenant_id, u.id, 'POST /v1/groups', sha256('key') FROM users AS u
    """,
    "idempotency_subjects": """
        INSERT INTO idempotency_subjects (tenant_id, idempotency_key_id, subject_id)
        SELECT u.tenant_id, u.id, u.id FROM users AS u
    """,
    "webhook_endpoints": """
        INSERT INTO webhook_endpoints (id, tenant_id, owner_id, slot, data_key_id, sealed_target, event_types)
        SELECT u.id, u.tenant_id, u.id, 1, u.id, '', '{grant.created}' FROM users AS u
    """,
    "webhook_messages": """
        INSERT INTO webhook_messages (id, tenant_id, event_type, payload)
        SELECT u.id, u.tenant_id, 'grant.created', '{}' FROM users AS u
    """,
    "webhook_deliveries": """
        INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, message_id, next_attempt_at)
        SELECT u.id, u.tenant_id, u.id, u.id, now() FROM users AS u
    """,
    "collections": """
        INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name)
        SELECT u.id, u.tenant_id, u.id, u.id, '' FROM users AS u
    """,
    "collection_documents": """
        INSERT INTO collection_documents (tenant_id, collection_id, document_id)
        SELECT u.tenant_id, u.id, u.id FROM users AS u
    """,
    "file_batches": """
        INSERT INTO file_batches (id, tenant_id, collection_id) SELECT u.id, u.tenant_id, u.id FROM users AS u
    """,
    "file_batch_files": """
        INSERT INTO file_batch_files (tenant_id, batch_id, document_id, collection_id)
        SELECT u.tenant_id, u.id, u.id, u.id FROM users AS u
    """,
    "chunks": """
        INSERT INTO chunks (
            tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms
        )
        SELECT u.tenant_id, u.id, 0, 0, 1, '', 1, 'a:1', '{}/1000000000' FROM users AS u
    """,
    "chunk_embeddings": """
        INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
        SELECT m.id, c.id, c.tenant_id, c.blob_id, '[1,0,0]' FROM chunks AS c CROSS JOIN embedding_models AS m
    """,
    "embedding_choices": """
        INSERT INTO embedding_choices (tenant_id, collection_id, model_id)
        SELECT u.tenant_id, u.id, m.id FROM users AS u CROSS JOIN embedding_models AS m
    """,
    "embedding_backfills": """
        INSERT INTO embedding_backfills (tenant_id, model_id)
        SELECT DISTINCT u.tenant_id, m.id FROM users AS u CROSS JOIN embedding_models AS m
    """,
    "schemas": """
        INSERT INTO schemas (id, tenant_id, owner_id, data_key_id, sealed_name)
        SELECT u.id, u.tenant_id, u.id, u.id, '' FROM users AS u
    """,
    "schema_versions": """
        INSERT INTO schema_versions (tenant_id, schema_id, number, sealed_definition)
        SELECT u.tenant_id, u.id, 1, '' FROM users AS u
    """,
    "records": """
        INSERT INTO records (id, tenant_id, owner_id, schema_id, schema_version, data_key_id, plain)
        SELECT u.id, u.tenant_id, u.id, u.id, 1, u.id, '{}' FROM users AS u
    """,
    "record_versions": """
        INSERT INTO record_versions (tenant_id, record_id, number, schema_id, schema_version, author_id)
        SELECT u.tenant_id, u.id, 1, u.id, 1, u.id FROM users AS u
    """,
    "record_parts": """
        INSERT INTO record_parts (tenant_id, record_id, version, number, data_key_id, sealed)
        SELECT u.tenant_id, u.id, 1, 0, u.id, '' FROM users AS u
    """,
    "record_digests": """
        INSERT INTO record_digests (tenant_id, record_id, digest)
        SELECT u.tenant_id, u.id, sha256('value') FROM users AS u
    """,
    "record_migrations": """
        INSERT INTO record_migrations (id, tenant_id, owner_id, schema_id, to_version, sealed_patch)
        SELECT u.id, u.tenant_id, u.id, u.id, 1, '' FROM users AS u
    """,
    "jobs": """
        INSERT INTO jobs (id, tenant_id, owner_id, kind, payload, max_attempts)
        SELECT u.id, u.tenant_id, u.id, 'test', '{}', 1 FROM users AS u
    """,
    "responses": """
        INSERT INTO responses (id, tenant_id, owner_id, status, data_key_id, sealed_resource)
        SELECT u.id, u.tenant_id, u.id, 'completed', u.id, '' FROM users AS u
    """,
    "conversations": """
        INSERT INTO conversations (id, tenant_id, owner_id, data_key_id, sealed_metadata)
        SELECT u.id, u.tenant_id, u.id, u.id, '' FROM users AS u
    """,
    "conversation_items": """
        INSERT INTO conversation_items (tenant_id, conversation_id, number, id, kind, sealed_item)
        SELECT u.tenant_id, u.id, 0, u.id, 'message', '' FROM users AS u
    """,
    "conversation_branches": """
        INSERT INTO conversation_branches (tenant_id, conversation_id, number)
        SELECT tenant_id, id, 1 FROM conversations
        """,
    "conversation_item_passages": """
        INSERT INTO conversation_item_passages (
            tenant_id, conversation_id, item_number, number, document_id, document_version, start_offset, end_offset
        )
        SELECT u.tenant_id, u.id, 0, 1, u.id, 1, 0, 1 FROM users AS u
    """,
    "notices": """
        INSERT INTO notices (id, tenant_id, owner_id, data_key_id, purpose)
        SELECT u.id, u.tenant_id, u.id, u.id, 'care' FROM users AS u
    """,
    "notice_versions": """
        INSERT INTO notice_versions (tenant_id, notice_id, number, sealed_content, validity_days, erases)
        SELECT u.tenant_id, u.id, 1, '', 1, false FROM users AS u
    """,
    "consents": """
        INSERT INTO consents (
            id, tenant_id, notice_id, notice_version, purpose, document_id, resource_id, resource_kind, subject_id,
            controller_id
        )
        SELECT u.id, u.tenant_id, u.id, 1, 'care', u.id, u.id, 'document', u.id, u.id FROM users AS u
    """,
    "consent_events": """
        INSERT INTO consent_events (tenant_id, consent_id, number, event, notice_version, entry_id)
        SELECT u.tenant_id, u.id, 1, 'asked', 1, u.id FROM users AS u
    """,
    "consent_grants": """
        INSERT INTO consent_grants (tenant_id, consent_id, grant_id) SELECT u.tenant_id, u.id, u.id FROM users AS u
    """,
    "grants": """
        INSERT INTO grants (id, tenant_id, document_id, grantor_id, user_id, actions)
        SELECT u.id, u.tenant_id, u.id, u.id, u.id, ARRAY['read'] FROM users AS u
    """,
    "share_links": """
        INSERT INTO share_links (id, tenant_id, grant_id, token_hash, is_one_time)
        SELECT u.id, u.tenant_id, u.id, sha256(uuid_send(u.id)), false FROM users AS u
    """,
    "verification_links": """
        INSERT INTO verification_links (
            id, tenant_id, creator_id, kind, document_id, version, token_hash, expires_at
        )
        SELECT u.id, u.tenant_id, u.id, 'document', u.id, 1, sha256(uuid_send(u.id)), 'infinity' FROM users AS u
    """,
    "response_streams": """
        INSERT INTO response_streams (
            response_id, tenant_id, principal_id, holder_id, expires_at, last_number, sealed_request
        )
        SELECT u.id, u.tenant_id, u.id, u.id, 'infinity', 0, '' FROM users AS u
    """,
    "response_events": """
        SELECT append_events(ARRAY[u.id], ARRAY[1], ARRAY[0], ARRAY[1], '{""}', '') FROM users AS u
    """,
    "conversation_summaries": """
        INSERT INTO conversation_summaries (tenant_id, response_id, conversation_id, through_number)
        SELECT u.tenant_id, u.id, u.id, 0 FROM users AS u
    """,
    "response_passages": """
        INSERT INTO response_passages (
            tenant_id, response_id, number, document_id, document_version, start_offset, end_offset, score
        )
        SELECT u.tenant_id, u.id, 1, u.id, 1, 0, 1, 1 FROM users AS u
    """,
    "access_requests": """
        INSERT INTO access_requests (id, tenant_id, asker_id, owner_id, document_id, sealed_content)
        SELECT u.id, u.tenant_id, u.id, u.id, u.id, '' FROM users AS u
    """,
    "access_request_counts": """
        INSERT INTO access_request_counts (tenant_id, asker_id, day)
        SELECT u.tenant_id, u.id, current_date FROM users AS u
    """,
    "pending_vectors": """
        INSERT INTO pending_vectors (tenant_id, chunk_ids) SELECT tenant_id, ARRAY[id] FROM chunks
    """,
    # Only triggers write here: whoever asked is told of the answer.
    "letters": """
        UPDATE access_requests SET state = 'denied', sealed_content = NULL, answered_at = now()
    """,
}

FILLED_BY_OTHERS: Final = (
    "pending_events",
    "tenants",
    "users",
    "term_statistics",
    "corpus_statistics",
    "ledger_logs",
    "ledger_entries",
    "ledger_tiles",
    "ledger_refusals",
    "user_usage",
    "tenant_usage",
)
"""Tables that the scope itself, triggers and the sequencer fill."""

READ_ONLY: Final = frozenset(
    {
        "file_batches",
        "file_batch_files",
        "pending_vectors",
        "quotas",
        "quota_windows",
        "metered_requests",
        "usage_days",
        "response_events",
        "open_sign_ups",
        "passwords",
        "sessions",
        "mail_codes",
        "attempts",
        "tenant_keys",
        "issuers",
        "issuer_users",
        "data_keys",
        "lookup_keys",
        "access_requests",
        "access_request_counts",
        "notices",
        "notice_versions",
        "consents",
        "consent_events",
        "consent_grants",
        "outgoing_mail",
        "second_factors",
        "recovery_codes",
        "sign_in_challenges",
        "second_factor_demands",
        "letters",
        "idempotency_keys",
        "idempotency_subjects",
        "webhook_endpoints",
        "webhook_messages",
        "webhook_deliveries",
        "grants",
        "groups",
        "share_links",
        "verification_links",
        "group_members",
        "ledger_keys",
        "ledger_pending",
        "schemas",
        "schema_versions",
        "records",
        "record_versions",
        "record_parts",
        "record_digests",
        "record_migrations",
        "conversations",
        "conversation_items",
        "conversation_branches",
        "conversation_item_passages",
        "conversation_summaries",
        "document_comments",
        "document_versions",
        "uploads",
        "upload_parts",
    }
)
"""Tables of which the service may not change the tenant at all: the right to write that column is missing."""

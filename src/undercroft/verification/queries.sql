-- name: find_version :maybe
-- Whoever shows its receipt was given that by somebody who might: nobody's grants are asked, and no content is told.
SELECT
    v.entry_id,
    v.created_at,
    c.salt AS document_salt,
    b.id,
    b.tenant_id,
    b.byte_size,
    b.sealed_sha256,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    d.deleted_at IS NOT NULL AS is_deleted
FROM documents AS d
INNER JOIN data_keys AS c ON d.data_key_id = c.id
INNER JOIN document_versions AS v ON d.id = v.document_id
INNER JOIN blobs AS b ON v.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE d.id = $1 AND v.number = $2;

-- name: find_commitment :one
SELECT entry_id, leaf, is_pending FROM find_commitment($1, $2);

-- name: find_leaf :value
SELECT leaf FROM ledger_entries WHERE tenant_id = current_tenant() AND position = $1;

-- name: find_consent :maybe
SELECT
    resource_id,
    resource_kind,
    subject_id,
    controller_id,
    purpose,
    valid_until,
    CASE WHEN state = 'given' AND valid_until <= statement_timestamp() THEN 'expired' ELSE state END AS status
FROM consents
WHERE id = $1;

-- name: is_answer_kept :value
SELECT EXISTS (SELECT FROM responses WHERE id = $1 AND data_key_id IS NOT NULL);

-- name: list_grants :many
SELECT
    g.id,
    g.expires_at,
    CASE
        WHEN g.ending = 'used_up' THEN 'used_up'
        WHEN g.ended_at IS NOT NULL THEN 'revoked'
        WHEN g.expires_at <= statement_timestamp() THEN 'expired'
        ELSE 'live'
    END AS standing,
    CASE WHEN c.state = 'given' AND c.valid_until <= statement_timestamp() THEN 'expired' ELSE c.state END AS consent
FROM grants AS g
LEFT JOIN consents AS c ON g.consent_id = c.id
WHERE g.id = ANY($1::uuid[]);

-- name: list_record_parts :many
-- A row for each part of a version of a record; as with documents nobody's grants are asked.
SELECT
    v.schema_id,
    v.schema_version,
    v.created_at,
    p.number AS part,
    p.sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM record_versions AS v
LEFT JOIN record_parts AS p ON v.record_id = p.record_id AND v.number = p.version
LEFT JOIN data_keys AS k ON p.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE v.record_id = $1 AND v.number = $2
ORDER BY p.number;

-- name: find_version_entry :one
SELECT entry_id, leaf FROM find_version_entry($1, $2);

-- name: insert_link :one
INSERT INTO verification_links (
    id,
    tenant_id,
    creator_id,
    purpose,
    kind,
    document_id,
    record_id,
    fields,
    version,
    token_hash,
    expires_at,
    creator_owns
)
VALUES (
    $1, current_tenant(), current_principal(), $2, $3, $4, $5, $6, $7, $8, now() + $9::interval,
    EXISTS (SELECT FROM documents AS d WHERE d.id = $4 AND d.owner_id = current_principal())
    OR EXISTS (SELECT FROM records AS r WHERE r.id = $5 AND r.owner_id = current_principal())
)
RETURNING created_at, expires_at;

-- name: list_links :many
-- Those that the caller made.
SELECT id, kind, version, document_id, record_id, fields, created_at, expires_at, revoked_at
FROM verification_links
WHERE tenant_id = current_tenant() AND creator_id = current_principal() AND ($1::uuid IS NULL OR id > $1)
ORDER BY id
LIMIT $2;

-- name: revoke_link :maybe
UPDATE verification_links SET revoked_at = coalesce(revoked_at, now())
WHERE tenant_id = current_tenant() AND creator_id = current_principal() AND id = $1
RETURNING kind, version, document_id, record_id, fields;

-- name: find_creator_scope :maybe
SELECT link_id, tenant_id, creator_id, purpose FROM find_verification_link($1);

-- name: find_link :maybe
SELECT
    l.kind,
    l.version,
    l.document_id,
    l.record_id,
    l.fields,
    l.expires_at,
    l.creator_owns,
    CASE
        WHEN l.revoked_at IS NOT NULL OR u.suspended_at IS NOT NULL THEN 'revoked'
        WHEN l.expires_at <= statement_timestamp() THEN 'expired'
        ELSE 'live'
    END AS standing
FROM verification_links AS l
INNER JOIN users AS u ON l.tenant_id = u.tenant_id AND l.creator_id = u.id
WHERE l.id = $1;

-- name: find_readable :maybe
-- By the link's creator, at this instant: nothing when they may not read it any more.
SELECT d.owner_id, k.salt, a.ways
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
CROSS JOIN LATERAL access_to_document(d, ARRAY['read']) AS a
WHERE d.id = $1;

-- name: find_readable_record :maybe
-- The same of a version of a record; which of its fields, its ways say.
SELECT
    r.owner_id,
    k.salt,
    CASE WHEN r.owner_id <> current_principal() THEN ways_to_record(r.id, v.number, '{read}') END AS ways,
    r.owner_id = current_principal() AS is_own
FROM records AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN record_versions AS v ON r.id = v.record_id
WHERE r.id = $1 AND v.number = $2;

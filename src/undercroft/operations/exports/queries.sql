-- name: list_users :many
SELECT u.id, u.email, u.role, u.created_at
FROM users AS u
WHERE u.tenant_id = current_tenant() AND u.id > $1
ORDER BY u.id
LIMIT $2;

-- name: list_versions :many
-- Each with the first entry that commits to its content: whose bytes have '"content":"'.
SELECT
    v.document_id,
    v.number,
    v.created_at,
    o.owner_id,
    o.purpose,
    o.sealed_name,
    o.sealed_metadata,
    o.is_sealed,
    o.deleted_at,
    b.id,
    b.tenant_id,
    b.media_type,
    b.byte_size,
    b.stored_name,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    d.id AS document_key_id,
    d.wrapped_key AS document_wrapped_key,
    d.salt AS document_salt,
    p.id AS document_tenant_key_id,
    p.tenant_id AS document_key_tenant_id,
    p.wrapped_key AS document_wrapped_tenant_key,
    e.entry_id,
    e.leaf
FROM document_versions AS v
INNER JOIN documents AS o ON v.document_id = o.id
INNER JOIN data_keys AS d ON o.data_key_id = d.id
INNER JOIN tenant_keys AS p ON d.tenant_key_id = p.id
INNER JOIN blobs AS b ON v.tenant_id = b.tenant_id AND v.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN find_commitment('file-' || replace(v.document_id::text, '-', ''), v.number) AS e
WHERE v.tenant_id = current_tenant() AND (v.document_id, v.number) > ($1::uuid, $2::int)
ORDER BY v.document_id, v.number
LIMIT $3;

-- name: list_comments :many
SELECT
    c.id,
    c.document_id,
    c.document_version,
    c.author_id,
    c.sealed_text,
    c.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM document_comments AS c
INNER JOIN documents AS d ON c.document_id = d.id
INNER JOIN data_keys AS k ON d.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE c.tenant_id = current_tenant() AND c.id > $1
ORDER BY c.id
LIMIT $2;

-- name: list_collections :many
SELECT
    c.id,
    c.owner_id,
    c.metadata,
    c.created_at,
    c.sealed_name,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE c.tenant_id = current_tenant() AND c.id > $1
ORDER BY c.id
LIMIT $2;

-- name: list_members :many
SELECT m.collection_id, m.document_id, m.attributes, m.added_at
FROM collection_documents AS m
WHERE m.tenant_id = current_tenant() AND (m.collection_id, m.document_id) > ($1::uuid, $2::uuid)
ORDER BY m.collection_id, m.document_id
LIMIT $3;

-- name: list_schema_versions :many
-- Each with the first entry that commits to it.
SELECT
    s.id,
    s.owner_id,
    s.sealed_name,
    v.number,
    v.created_at,
    v.sealed_definition,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    e.entry_id
FROM schema_versions AS v
INNER JOIN schemas AS s ON v.schema_id = s.id
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN find_commitment('schema_' || replace(v.schema_id::text, '-', ''), v.number) AS e
WHERE v.tenant_id = current_tenant() AND (v.schema_id, v.number) > ($1::uuid, $2::int)
ORDER BY v.schema_id, v.number
LIMIT $3;

-- name: list_record_parts :many
-- All parts of a page of versions, each with the first entry that commits to its version.
WITH page AS (
    SELECT v.tenant_id, v.record_id, v.number, v.schema_id, v.schema_version, v.author_id, v.created_at
    FROM record_versions AS v
    WHERE v.tenant_id = current_tenant() AND (v.record_id, v.number) > ($1::uuid, $2::int)
    ORDER BY v.record_id, v.number
    LIMIT $3
)

SELECT
    v.record_id,
    v.number AS version,
    v.schema_id,
    v.schema_version,
    v.author_id,
    v.created_at,
    r.owner_id,
    p.sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    e.entry_id
FROM page AS v
INNER JOIN records AS r ON v.record_id = r.id
INNER JOIN record_parts AS p ON v.record_id = p.record_id AND v.number = p.version
INNER JOIN data_keys AS k ON p.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN find_commitment('rec_' || replace(v.record_id::text, '-', ''), v.number) AS e
ORDER BY v.record_id, v.number, p.number;

-- name: list_responses :many
SELECT
    r.id,
    r.owner_id,
    r.status,
    r.created_at,
    r.sealed_resource,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM responses AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE r.tenant_id = current_tenant() AND r.id > $1
ORDER BY r.id
LIMIT $2;

-- name: list_conversations :many
SELECT
    v.id,
    v.owner_id,
    v.created_at,
    v.if_busy,
    v.sealed_metadata,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM conversations AS v
INNER JOIN data_keys AS k ON v.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE v.tenant_id = current_tenant() AND v.id > $1
ORDER BY v.id
LIMIT $2;

-- name: list_conversation_items :many
-- The deleted and erased ones too, of which nothing but their numbers is left.
SELECT
    i.conversation_id,
    i.number,
    i.branch,
    b.after_number,
    i.created_at,
    i.ending,
    i.sealed_item,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM conversation_items AS i
INNER JOIN conversations AS v ON i.conversation_id = v.id
LEFT JOIN conversation_branches AS b ON i.conversation_id = b.conversation_id AND i.branch = b.number
INNER JOIN data_keys AS k ON coalesce(i.data_key_id, v.data_key_id) = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE i.tenant_id = current_tenant() AND (i.conversation_id, i.number) > ($1::uuid, $2::int)
ORDER BY i.conversation_id, i.number
LIMIT $3;

-- name: get_log :one
SELECT l.id, l.size, l.checkpoint FROM ledger_logs AS l WHERE l.tenant_id = current_tenant();

-- name: list_entries :many
SELECT
    e.position, e.id, e.occurred_at, e.actor_id, e.owner_id, e.on_behalf_of, e.action, e.resource, e.version,
    e.outcome, e.grant_id, e.purpose, e.trace, e.refusals, e.leaf, u.ledger_salt AS actor_salt,
    b.ledger_salt AS on_behalf_of_salt
FROM ledger_entries AS e
LEFT JOIN users AS u ON e.tenant_id = u.tenant_id AND e.actor_id = u.id
LEFT JOIN users AS b ON e.tenant_id = b.tenant_id AND e.on_behalf_of = b.id
WHERE e.tenant_id = current_tenant() AND e.position >= $1
ORDER BY e.position
LIMIT $2;

-- name: list_salts :many
-- Of everything that an entry can be about; ids are unique over all kinds. An API key's acts are salted with its user's.
SELECT d.id, k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.tenant_id = current_tenant() AND d.id = ANY($1::uuid[])
UNION ALL
SELECT c.id, k.salt
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
WHERE c.tenant_id = current_tenant() AND c.id = ANY($1::uuid[])
UNION ALL
SELECT r.id, k.salt
FROM responses AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
WHERE r.tenant_id = current_tenant() AND r.id = ANY($1::uuid[])
UNION ALL
SELECT v.id, k.salt
FROM conversations AS v
INNER JOIN data_keys AS k ON v.data_key_id = k.id
WHERE v.tenant_id = current_tenant() AND v.id = ANY($1::uuid[])
UNION ALL
SELECT r.id, k.salt
FROM records AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
WHERE r.tenant_id = current_tenant() AND r.id = ANY($1::uuid[])
UNION ALL
SELECT s.id, k.salt
FROM schemas AS s
INNER JOIN data_keys AS k ON s.data_key_id = k.id
WHERE s.tenant_id = current_tenant() AND s.id = ANY($1::uuid[])
UNION ALL
SELECT u.id, k.salt
FROM uploads AS u
INNER JOIN data_keys AS k ON u.data_key_id = k.id
WHERE u.tenant_id = current_tenant() AND u.id = ANY($1::uuid[])
UNION ALL
SELECT u.id, u.ledger_salt
FROM users AS u
WHERE u.tenant_id = current_tenant() AND u.id = ANY($1::uuid[])
UNION ALL
SELECT a.id, u.ledger_salt
FROM api_keys AS a
INNER JOIN users AS u ON a.tenant_id = u.tenant_id AND a.user_id = u.id
WHERE a.tenant_id = current_tenant() AND a.id = ANY($1::uuid[])
UNION ALL
SELECT l.tenant_id, l.salt
FROM ledger_logs AS l
WHERE l.tenant_id = current_tenant() AND l.tenant_id = ANY($1::uuid[]);

-- name: blob_exists :value
SELECT EXISTS (SELECT FROM blobs AS b WHERE b.tenant_id = current_tenant() AND b.id = $1);

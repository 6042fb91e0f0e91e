-- name: find_room :maybe
-- The key of a document that the caller may comment on, and how many comments it has.
SELECT
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    (
        SELECT count(*) FROM document_comments AS c WHERE c.tenant_id = d.tenant_id AND c.document_id = d.id
    ) AS comment_count
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE d.id = $1 AND d.deleted_at IS NULL AND EXISTS (SELECT FROM access_to_document(d, ARRAY['comment']));

-- name: insert_comment :maybe
-- Authorises and writes. On the current version where none is named ($3): earlier ones are their owner's alone.
INSERT INTO document_comments (id, tenant_id, document_id, document_version, author_id, sealed_text)
SELECT
    $2,
    d.tenant_id,
    d.id,
    v.number,
    current_principal(),
    $4
FROM documents AS d
INNER JOIN document_versions AS v ON d.id = v.document_id AND v.number = coalesce($3, d.current_version)
CROSS JOIN LATERAL access_to_document(d, ARRAY['comment']) AS a
WHERE d.id = $1 AND d.deleted_at IS NULL AND (a.action IS NULL OR v.number = d.current_version)
RETURNING document_version, author_id, created_at;

-- name: list_comments :many
-- Authorises and reads in one snapshot: some comments, the oldest first ($3: after this one, $4: so many), for whoever comes
-- to the document by one of these actions ($2). One row without a comment where there is none.
WITH reached AS MATERIALIZED (
    SELECT
        d.id,
        d.tenant_id,
        d.owner_id,
        d.current_version,
        d.data_key_id,
        a.action,
        a.ways
    FROM documents AS d
    CROSS JOIN LATERAL access_to_document(d, $2::text[]) AS a
    WHERE d.id = $1 AND d.deleted_at IS NULL
)

SELECT
    r.tenant_id,
    r.owner_id,
    r.current_version,
    r.action,
    r.ways,
    c.id,
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
FROM reached AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
LEFT JOIN LATERAL (
    SELECT
        o.id,
        o.document_version,
        o.author_id,
        o.sealed_text,
        o.created_at
    FROM document_comments AS o
    WHERE o.tenant_id = r.tenant_id AND o.document_id = r.id AND ($3::uuid IS NULL OR o.id > $3)
    ORDER BY o.id
    LIMIT $4
) AS c ON true
ORDER BY c.id;

-- name: delete_comment :maybe
-- For its author while they come to the document by any of these actions ($3), and for the document's owner.
DELETE FROM document_comments AS c
USING documents AS d CROSS JOIN LATERAL access_to_document(d, $3::text[]) AS a
WHERE
    c.id = $2
    AND c.document_id = $1
    AND d.id = $1
    AND d.deleted_at IS NULL
    AND (a.action IS NULL OR c.author_id = current_principal())
RETURNING c.document_version;

-- name: find_comment :maybe
-- Whether the caller, who comes to the document by one of these actions ($3), can see that there is such a comment.
SELECT c.id
FROM document_comments AS c
INNER JOIN documents AS d ON c.document_id = d.id
WHERE
    c.id = $2
    AND d.id = $1
    AND d.deleted_at IS NULL
    AND EXISTS (SELECT FROM access_to_document(d, $3::text[]));

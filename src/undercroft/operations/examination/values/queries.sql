-- All of these run in the scope of one tenant, and say so themselves, as those of the examination do.

-- name: list_sealed_mail :many
SELECT
    m.id,
    0 AS number,
    m.sealed_message AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM outgoing_mail AS m
INNER JOIN data_keys AS k ON m.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE m.tenant_id = current_tenant() AND (m.id, 0) > ($1::uuid, $2::int)
ORDER BY m.id
LIMIT $3;

-- name: list_sealed_answers :many
SELECT
    i.id,
    0 AS number,
    i.sealed_answer AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM idempotency_keys AS i
INNER JOIN data_keys AS k ON i.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE i.tenant_id = current_tenant() AND (i.id, 0) > ($1::uuid, $2::int)
ORDER BY i.id
LIMIT $3;

-- name: list_sealed_factors :many
SELECT
    f.user_id AS id,
    0 AS number,
    f.sealed_secret AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM second_factors AS f
INNER JOIN data_keys AS k ON f.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE f.tenant_id = current_tenant() AND (f.user_id, 0) > ($1::uuid, $2::int)
ORDER BY f.user_id
LIMIT $3;

-- name: list_sealed_links :many
SELECT
    h.id,
    0 AS number,
    h.sealed_email AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM share_links AS h
INNER JOIN data_keys AS k ON h.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE h.tenant_id = current_tenant() AND (h.id, 0) > ($1::uuid, $2::int)
ORDER BY h.id
LIMIT $3;

-- name: list_sealed_requests :many
-- Each under the key of what is asked for.
SELECT
    q.id,
    0 AS number,
    q.sealed_content AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM access_requests AS q
LEFT JOIN documents AS d ON q.document_id = d.id
LEFT JOIN collections AS c ON q.collection_id = c.id
LEFT JOIN records AS o ON q.record_id = o.id
LEFT JOIN responses AS r ON q.response_id = r.id
INNER JOIN data_keys AS k ON coalesce(d.data_key_id, c.data_key_id, o.data_key_id, r.data_key_id) = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE q.tenant_id = current_tenant() AND (q.id, 0) > ($1::uuid, $2::int) AND q.sealed_content IS NOT NULL
ORDER BY q.id
LIMIT $3;

-- name: list_sealed_comments :many
-- Each under the key of the document that it is on.
SELECT
    c.id,
    0 AS number,
    c.sealed_text AS sealed,
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
WHERE c.tenant_id = current_tenant() AND (c.id, 0) > ($1::uuid, $2::int)
ORDER BY c.id
LIMIT $3;

-- name: list_sealed_notices :many
SELECT
    v.notice_id AS id,
    v.number,
    v.sealed_content AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM notice_versions AS v
INNER JOIN notices AS n ON v.notice_id = n.id
INNER JOIN data_keys AS k ON n.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE v.tenant_id = current_tenant() AND (v.notice_id, v.number) > ($1::uuid, $2::int)
ORDER BY v.notice_id, v.number
LIMIT $3;

-- name: list_sealed_statements :many
SELECT
    p.response_id AS id,
    p.number,
    p.sealed_statement AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM response_passages AS p
INNER JOIN responses AS r ON p.response_id = r.id
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    p.tenant_id = current_tenant()
    AND (p.response_id, p.number) > ($1::uuid, $2::int)
    AND p.sealed_statement IS NOT NULL
ORDER BY p.response_id, p.number
LIMIT $3;

-- name: list_sealed_events :many
SELECT
    e.response_id AS id,
    e.sealed_events AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    coalesce(e.previous_number + 1, 0) AS number
FROM response_events AS e
INNER JOIN responses AS r ON e.response_id = r.id
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE e.tenant_id = current_tenant() AND (e.response_id, coalesce(e.previous_number + 1, 0)) > ($1::uuid, $2::int)
ORDER BY e.response_id, coalesce(e.previous_number + 1, 0)
LIMIT $3;

-- name: list_sealed_questions :many
SELECT
    s.response_id AS id,
    0 AS number,
    s.sealed_request AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM response_streams AS s
INNER JOIN responses AS r ON s.response_id = r.id
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE s.tenant_id = current_tenant() AND (s.response_id, 0) > ($1::uuid, $2::int) AND s.sealed_request IS NOT NULL
ORDER BY s.response_id
LIMIT $3;

-- name: list_sealed_conversations :many
SELECT
    v.id,
    0 AS number,
    v.sealed_metadata AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM conversations AS v
INNER JOIN data_keys AS k ON v.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE v.tenant_id = current_tenant() AND (v.id, 0) > ($1::uuid, $2::int)
ORDER BY v.id
LIMIT $3;

-- name: list_sealed_items :many
-- Each under its own key, or else its conversation's.
SELECT
    i.conversation_id AS id,
    i.number,
    i.sealed_item AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM conversation_items AS i
INNER JOIN conversations AS v ON i.conversation_id = v.id
INNER JOIN data_keys AS k ON coalesce(i.data_key_id, v.data_key_id) = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    i.tenant_id = current_tenant()
    AND (i.conversation_id, i.number) > ($1::uuid, $2::int)
    AND i.sealed_item IS NOT NULL
ORDER BY i.conversation_id, i.number
LIMIT $3;

-- name: list_sealed_patches :many
SELECT
    g.id,
    0 AS number,
    g.sealed_patch AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM record_migrations AS g
INNER JOIN schemas AS s ON g.schema_id = s.id
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE g.tenant_id = current_tenant() AND (g.id, 0) > ($1::uuid, $2::int)
ORDER BY g.id
LIMIT $3;

-- All of these run in the scope of one tenant, and say so themselves: the owner, in whose transaction a restore is
-- proved, sees more of the ledger than that.

-- name: get_log :one
SELECT l.id, l.size, l.frontier, l.checkpoint
FROM ledger_logs AS l
WHERE l.tenant_id = current_tenant();

-- name: list_log_keys :many
SELECT k.number, k.name, k.public_key, k.wrapped_private_key, k.retired_at
FROM ledger_keys AS k
WHERE k.tenant_id = current_tenant()
ORDER BY k.number DESC;

-- name: list_entries :many
SELECT
    e.position, e.id, e.occurred_at, e.actor_id, e.action, e.version, e.outcome, e.trace, e.leaf,
    u.ledger_salt AS actor_salt
FROM ledger_entries AS e
LEFT JOIN users AS u ON e.tenant_id = u.tenant_id AND e.actor_id = u.id
WHERE e.tenant_id = current_tenant() AND e.position >= $1
ORDER BY e.position
LIMIT $2;

-- name: list_tile_hashes :many
SELECT t.level, t.position, t.hash
FROM unnest($1::int[], $2::bigint[]) AS wanted (level, position)
INNER JOIN ledger_tiles AS t
    ON wanted.level = t.level AND wanted.position = t.position AND t.tenant_id = current_tenant();

-- name: count_tile_hashes :value
SELECT count(*) FROM ledger_tiles AS t WHERE t.tenant_id = current_tenant();

-- name: list_tenant_keys :many
SELECT k.id, k.tenant_id, k.wrapped_key
FROM tenant_keys AS k
WHERE k.tenant_id = current_tenant()
ORDER BY k.number;

-- name: list_data_keys :many
SELECT
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    EXISTS (SELECT FROM blobs AS b WHERE b.data_key_id = k.id)
    OR EXISTS (SELECT FROM documents AS d WHERE d.data_key_id = k.id)
    OR EXISTS (SELECT FROM collections AS c WHERE c.data_key_id = k.id)
    OR EXISTS (SELECT FROM responses AS r WHERE r.data_key_id = k.id)
    OR EXISTS (SELECT FROM conversations AS v WHERE v.data_key_id = k.id)
    OR EXISTS (SELECT FROM conversation_items AS i WHERE i.data_key_id = k.id)
    OR EXISTS (SELECT FROM schemas AS s WHERE s.data_key_id = k.id)
    OR EXISTS (SELECT FROM records AS o WHERE o.data_key_id = k.id)
    OR EXISTS (SELECT FROM record_parts AS p WHERE p.data_key_id = k.id)
    OR EXISTS (SELECT FROM uploads AS u WHERE u.data_key_id = k.id)
    OR EXISTS (SELECT FROM upload_parts AS p WHERE p.data_key_id = k.id)
    OR EXISTS (SELECT FROM outgoing_mail AS m WHERE m.data_key_id = k.id)
    OR EXISTS (SELECT FROM idempotency_keys AS i WHERE i.data_key_id = k.id)
    OR EXISTS (SELECT FROM second_factors AS f WHERE f.data_key_id = k.id)
    OR EXISTS (SELECT FROM webhook_endpoints AS w WHERE w.data_key_id = k.id)
    OR EXISTS (SELECT FROM share_links AS h WHERE h.data_key_id = k.id)
    OR EXISTS (SELECT FROM notices AS n WHERE n.data_key_id = k.id)
    OR EXISTS (SELECT FROM lookup_keys AS l WHERE l.tenant_id = k.tenant_id AND l.data_key_id = k.id) AS is_used
FROM data_keys AS k
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE k.tenant_id = current_tenant() AND k.id > $1
ORDER BY k.id
LIMIT $2;

-- name: list_sealed_documents :many
SELECT
    d.id,
    d.sealed_name AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE d.tenant_id = current_tenant() AND d.id > $1
ORDER BY d.id
LIMIT $2;

-- name: list_sealed_collections :many
SELECT
    c.id,
    c.sealed_name AS sealed,
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

-- name: list_sealed_responses :many
SELECT
    r.id,
    r.sealed_resource AS sealed,
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

-- name: list_sealed_uploads :many
SELECT
    u.id,
    u.sealed_name AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM uploads AS u
INNER JOIN data_keys AS k ON u.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE u.tenant_id = current_tenant() AND u.id > $1
ORDER BY u.id
LIMIT $2;

-- name: list_sealed_webhooks :many
SELECT
    w.id,
    w.sealed_target AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM webhook_endpoints AS w
INNER JOIN data_keys AS k ON w.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE w.tenant_id = current_tenant() AND w.id > $1
ORDER BY w.id
LIMIT $2;

-- name: list_sealed_metadata :many
SELECT
    d.id,
    d.sealed_metadata AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE d.tenant_id = current_tenant() AND d.id > $1 AND d.sealed_metadata IS NOT NULL
ORDER BY d.id
LIMIT $2;

-- name: list_sealed_schemas :many
SELECT
    s.id,
    s.sealed_name AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM schemas AS s
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE s.tenant_id = current_tenant() AND s.id > $1
ORDER BY s.id
LIMIT $2;

-- name: list_sealed_definitions :many
-- Each with the first entry that commits to it.
SELECT
    v.schema_id,
    v.number,
    v.sealed_definition AS sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    e.entry_id,
    e.leaf,
    e.is_pending
FROM schema_versions AS v
INNER JOIN schemas AS s ON v.schema_id = s.id
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN find_commitment('schema_' || replace(v.schema_id::text, '-', ''), v.number) AS e
WHERE v.tenant_id = current_tenant() AND (v.schema_id, v.number) > ($1::uuid, $2::int)
ORDER BY v.schema_id, v.number
LIMIT $3;

-- name: list_record_parts :many
-- All parts of a page of versions, each with the first entry that commits to its version; a row without a key for a
-- version that has none.
WITH page AS (
    SELECT v.tenant_id, v.record_id, v.number, v.schema_id, v.schema_version
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
    p.sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    e.entry_id,
    e.leaf,
    e.is_pending
FROM page AS v
CROSS JOIN find_commitment('rec_' || replace(v.record_id::text, '-', ''), v.number) AS e
LEFT JOIN record_parts AS p ON v.record_id = p.record_id AND v.number = p.version
LEFT JOIN data_keys AS k ON p.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
ORDER BY v.record_id, v.number, p.number;

-- name: list_blobs :many
SELECT
    b.id,
    b.stored_name,
    b.byte_size,
    b.sealed_sha256,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    EXISTS (SELECT FROM document_versions AS v WHERE v.tenant_id = b.tenant_id AND v.blob_id = b.id) AS is_used
FROM blobs AS b
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE b.tenant_id = current_tenant() AND b.id > $1
ORDER BY b.id
LIMIT $2;

-- name: list_commitments :many
-- The versions of documents, each with the first entry that commits to its content.
SELECT
    v.document_id,
    v.number,
    v.blob_id,
    b.sealed_sha256,
    d.salt AS document_salt,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    e.entry_id,
    e.leaf,
    e.is_pending
FROM document_versions AS v
INNER JOIN documents AS o ON v.document_id = o.id
INNER JOIN data_keys AS d ON o.data_key_id = d.id
INNER JOIN blobs AS b ON v.tenant_id = b.tenant_id AND v.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN find_commitment('file-' || replace(v.document_id::text, '-', ''), v.number) AS e
WHERE v.tenant_id = current_tenant() AND (v.document_id, v.number) > ($1::uuid, $2::int)
ORDER BY v.document_id, v.number
LIMIT $3;

-- name: list_chunks :many
SELECT
    c.id,
    c.blob_id,
    c.ordinal,
    c.sealed_text,
    b.index_state,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    EXISTS (SELECT FROM chunk_embeddings AS m WHERE m.chunk_id = c.id) AS is_embedded
FROM chunks AS c
INNER JOIN blobs AS b ON c.tenant_id = b.tenant_id AND c.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE c.tenant_id = current_tenant() AND c.id > $1
ORDER BY c.id
LIMIT $2;

-- name: list_unindexed_blobs :many
-- Contents that say they are indexed and have no passage, or not each from the first to the last. A destroyed tenant's
-- index is gone, as it should be.
SELECT b.id, count(c.id) AS passages
FROM blobs AS b
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id AND t.wrapped_key IS NOT NULL
LEFT JOIN chunks AS c ON b.tenant_id = c.tenant_id AND b.id = c.blob_id
WHERE b.tenant_id = current_tenant() AND b.index_state = 'indexed' AND b.id > $1
GROUP BY b.id
HAVING count(c.id) = 0 OR max(c.ordinal) + 1 <> count(c.id)
ORDER BY b.id
LIMIT $2;

-- name: list_superseded :many
-- Contents that have passages, are current nowhere, and wait neither for the job to forget them nor for their successor.
SELECT b.id
FROM blobs AS b
WHERE
    b.tenant_id = current_tenant() AND b.id > $1
    AND EXISTS (SELECT FROM chunks AS c WHERE c.tenant_id = b.tenant_id AND c.blob_id = b.id)
    AND NOT EXISTS (
        SELECT FROM document_versions AS v
        INNER JOIN documents AS d ON v.document_id = d.id AND v.number = d.current_version
        WHERE v.tenant_id = b.tenant_id AND v.blob_id = b.id
    ) AND NOT EXISTS (
        SELECT FROM jobs AS j
        WHERE
            j.tenant_id = b.tenant_id AND j.kind = 'forget_blob' AND j.state IN ('queued', 'running')
            AND j.payload @> jsonb_build_object('blob_id', b.id)
    ) AND NOT EXISTS (
        SELECT FROM document_versions AS v
        INNER JOIN documents AS d ON v.document_id = d.id
        INNER JOIN document_versions AS c ON d.id = c.document_id AND d.current_version = c.number
        INNER JOIN blobs AS cb ON c.blob_id = cb.id
        WHERE v.tenant_id = b.tenant_id AND v.blob_id = b.id AND cb.index_state = 'pending'
    )
ORDER BY b.id
LIMIT $2;

-- name: find_wrong_corpus :maybe
WITH derived AS (
    SELECT count(*) AS chunk_count, coalesce(sum(term_count(c.lexemes)), 0) AS term_total
    FROM chunks AS c
    WHERE c.tenant_id = current_tenant()
)

SELECT d.chunk_count AS derived, coalesce(s.chunk_count, 0) AS kept
FROM derived AS d
LEFT JOIN corpus_statistics AS s ON s.tenant_id = current_tenant()
WHERE
    (coalesce(s.chunk_count, 0), coalesce(s.term_total, 0)) <> (d.chunk_count, d.term_total)
    OR EXISTS (SELECT FROM chunks AS c WHERE c.tenant_id = s.tenant_id AND c.dictionary <> ALL(s.languages));

-- name: count_wrong_terms :value
WITH derived AS (
    SELECT word.lexeme AS term, count(*) AS chunk_count
    FROM chunks AS c
    CROSS JOIN unnest(c.lexemes) AS word
    WHERE c.tenant_id = current_tenant()
    GROUP BY word.lexeme
), kept AS (
    SELECT s.term, s.chunk_count FROM term_statistics AS s WHERE s.tenant_id = current_tenant()
)

SELECT count(*)
FROM derived AS d
FULL JOIN kept AS k ON d.term = k.term
WHERE d.chunk_count IS DISTINCT FROM k.chunk_count;

-- name: blob_exists :value
-- Not where the tenant was destroyed: its bytes are deleted, and the row stays.
SELECT EXISTS (
    SELECT FROM blobs AS b
    INNER JOIN data_keys AS k ON b.data_key_id = k.id
    INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
    WHERE b.tenant_id = current_tenant() AND b.id = $1 AND t.wrapped_key IS NOT NULL
);

-- name: has_stored_name :value
SELECT
    EXISTS (SELECT FROM blobs AS b WHERE b.tenant_id = current_tenant() AND b.stored_name = $1)
    OR EXISTS (SELECT FROM upload_parts AS p WHERE p.tenant_id = current_tenant() AND p.stored_name = $1);

-- name: insert_batch :exec
-- Of members that this transaction has put there.
WITH batch AS (
    INSERT INTO file_batches (id, tenant_id, collection_id)
    VALUES ($1, current_tenant(), $2)
    RETURNING id, tenant_id, collection_id
)

INSERT INTO file_batch_files (tenant_id, batch_id, document_id, collection_id)
SELECT batch.tenant_id, batch.id, file.document_id, batch.collection_id
FROM batch
CROSS JOIN unnest($3::uuid[]) AS file (document_id);

-- name: find_batch :maybe
-- Of a collection of the caller's.
SELECT
    b.id,
    b.collection_id,
    b.created_at,
    n.in_progress,
    n.completed,
    n.failed,
    n.cancelled,
    b.cancelled_at IS NOT NULL AS is_cancelled
FROM collections AS c
INNER JOIN file_batches AS b ON c.id = b.collection_id
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE f.index_state IN ('unindexed', 'pending')) AS in_progress,
        count(*) FILTER (WHERE f.index_state = 'indexed') AS completed,
        count(*) FILTER (WHERE f.index_state = 'failed') AS failed,
        count(*) FILTER (WHERE f.index_state IS NULL) AS cancelled
    FROM described_batch_files AS f
    WHERE f.batch_id = b.id
) AS n
WHERE c.id = $1 AND b.id = $2 AND c.owner_id = current_principal();

-- name: list_files :many
-- Of a collection of the caller's. What is not in it any more has the time of the batch.
SELECT
    b.collection_id,
    f.document_id,
    f.index_state,
    f.index_error_code,
    f.index_error_message,
    coalesce(f.attributes, '{}') AS attributes,
    coalesce(f.added_at, b.created_at) AS added_at,
    coalesce(f.byte_size, 0) AS byte_size
FROM collections AS c
INNER JOIN file_batches AS b ON c.id = b.collection_id
INNER JOIN described_batch_files AS f ON b.id = f.batch_id
WHERE
    c.id = $1
    AND b.id = $2
    AND c.owner_id = current_principal()
    AND ($3::uuid IS NULL OR (CASE WHEN $4::boolean THEN f.document_id > $3 ELSE f.document_id < $3 END))
    AND ($5::text IS NULL OR $5 = CASE f.index_state
        WHEN 'indexed' THEN 'completed'
        WHEN 'failed' THEN 'failed'
        WHEN 'unindexed' THEN 'in_progress'
        WHEN 'pending' THEN 'in_progress'
        ELSE 'cancelled'
    END)
ORDER BY CASE WHEN $4 THEN f.document_id END ASC, CASE WHEN NOT $4 THEN f.document_id END DESC
LIMIT $6;

-- name: lock_collection_alone :value
-- Answers its salt. Of two who cancel batches with files in common each would wait for what the other has taken out; and
-- whoever adds files, which takes this FOR SHARE, may hold a member and wait for another one.
SELECT k.salt
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
WHERE c.id = $1 AND c.owner_id = current_principal()
FOR NO KEY UPDATE OF c;

-- name: lock_documents :many
-- All that are there by the batch, in the order in which documents are locked everywhere. FOR SHARE: whoever erases one, or
-- adds a version, comes before all that follows, or after it.
SELECT d.id
FROM file_batch_files AS f
INNER JOIN documents AS d ON f.document_id = d.id
WHERE f.batch_id = $1 AND f.collection_id IS NOT NULL
ORDER BY d.id
FOR SHARE OF d;

-- name: lock_contents :exec
-- FOR SHARE: a job that stores one of them has ended before it is looked whether it is indexed, and no other one ends before
-- its file is taken out.
SELECT b.id
FROM documents AS d
INNER JOIN blobs AS b ON d.current_blob_id = b.id
WHERE d.id = ANY($1::uuid[]) AND b.index_state IN ('unindexed', 'pending')
ORDER BY b.id
FOR SHARE OF b;

-- name: stop_files :many
-- Of documents that are locked, takes those out that are not indexed.
DELETE FROM collection_documents AS m
USING documents AS d, blobs AS b, data_keys AS k
WHERE
    m.collection_id = $1
    AND m.document_id = ANY($2::uuid[])
    AND d.id = m.document_id
    AND b.id = d.current_blob_id
    AND b.index_state IN ('unindexed', 'pending')
    AND k.id = d.data_key_id
RETURNING m.document_id, d.owner_id, d.current_version, k.salt;

-- name: mark_cancelled :exec
UPDATE file_batches SET cancelled_at = coalesce(cancelled_at, now()) WHERE id = $1;

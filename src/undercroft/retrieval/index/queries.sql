-- name: request_index :value
-- Answers the id when the content now waits to be indexed, nothing when it is indexed or waiting already.
UPDATE blobs
SET index_state = 'pending', index_error_code = NULL, index_error_message = NULL
WHERE id = $1 AND index_state IN ('unindexed', 'failed')
RETURNING id;

-- name: list_superseded :many
-- What of a document's earlier contents is on its way into the index, or, if that is asked for, in it, and current nowhere.
SELECT DISTINCT b.id
FROM documents AS d
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version > v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
WHERE
    d.id = $1
    AND (b.index_state = 'pending' OR ($2 AND b.index_state = 'indexed'))
    AND NOT EXISTS (
        SELECT FROM document_versions AS c
        INNER JOIN documents AS o ON c.document_id = o.id AND c.number = o.current_version
        WHERE c.tenant_id = b.tenant_id AND c.blob_id = b.id
    );

-- name: list_superseded_by :many
-- What of the earlier contents of the documents whose current content this is is in the index, and current nowhere.
SELECT DISTINCT b.id
FROM document_versions AS c
INNER JOIN documents AS d ON c.document_id = d.id AND c.number = d.current_version
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version > v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
WHERE
    c.tenant_id = current_tenant()
    AND c.blob_id = $1
    AND b.index_state IN ('pending', 'indexed')
    AND NOT EXISTS (
        SELECT FROM document_versions AS o
        INNER JOIN documents AS od ON o.document_id = od.id AND o.number = od.current_version
        WHERE o.tenant_id = b.tenant_id AND o.blob_id = b.id
    );

-- name: is_pending :value
SELECT index_state = 'pending' FROM blobs WHERE id = $1;

-- name: find_former_content :maybe
-- The last indexed content of a document whose current content this is: what is the same in both need not be embedded
-- again.
SELECT
    b.id,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM document_versions AS c
INNER JOIN documents AS d ON c.document_id = d.id AND c.number = d.current_version
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version > v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE c.tenant_id = current_tenant() AND c.blob_id = $1 AND b.index_state = 'indexed'
ORDER BY v.number DESC
LIMIT 1;

-- name: list_embedded_passages :many
SELECT
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    e.embedding::text AS embedding
FROM chunks AS ch
INNER JOIN chunk_embeddings AS e ON ch.id = e.chunk_id
INNER JOIN embedding_models AS m ON e.model_id = m.id
WHERE ch.tenant_id = current_tenant() AND ch.blob_id = $1 AND m.name = $2 AND m.dimensions = $3
ORDER BY ch.ordinal
LIMIT $4;

-- name: lock_content :exec
-- Against whoever makes it current again at the same time: their new version refers to it, and so waits at this lock and
-- then has it indexed; or was first, and is seen by what follows. FOR NO KEY UPDATE would let the reference through.
SELECT b.id FROM blobs AS b WHERE b.id = $1 FOR UPDATE;

-- name: forget_superseded :exec
-- Searches read current versions alone, so what is current nowhere is of no use in the index.
WITH forgotten AS (
    UPDATE blobs AS b
    SET index_state = 'unindexed', index_error_code = NULL, index_error_message = NULL
    WHERE
        b.id = $1
        AND b.index_state IN ('pending', 'indexed')
        AND NOT EXISTS (
            SELECT FROM document_versions AS v
            INNER JOIN documents AS d ON v.document_id = d.id AND v.number = d.current_version
            WHERE v.tenant_id = b.tenant_id AND v.blob_id = b.id
        )
    RETURNING b.id
)

DELETE FROM chunks WHERE tenant_id = current_tenant() AND blob_id IN (SELECT f.id FROM forgotten AS f);

-- name: find_member_content :value
-- The content of a document's current version, when the document is in a collection; also while it is in the trash, from
-- where it may come back.
SELECT v.blob_id
FROM documents AS d
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
WHERE
    d.id = $1
    AND NOT d.is_sealed
    AND EXISTS (
        SELECT FROM collection_documents AS m WHERE m.tenant_id = d.tenant_id AND m.document_id = d.id
    );

-- name: begin_indexing :maybe
-- A content that has failed waits again: its job was retried. Answers nothing when it is indexed, or gone.
UPDATE blobs AS b
SET index_state = 'pending', index_error_code = NULL, index_error_message = NULL
FROM data_keys AS k, tenant_keys AS t
WHERE
    b.id = $1
    AND b.index_state IN ('pending', 'failed')
    AND k.id = b.data_key_id
    AND t.id = k.tenant_key_id
RETURNING
    b.id,
    b.tenant_id,
    b.media_type,
    b.stored_name,
    b.byte_size,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key;

-- name: find_content :maybe
SELECT
    b.id,
    b.tenant_id,
    b.media_type,
    b.stored_name,
    b.byte_size,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM blobs AS b
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE b.id = $1;

-- name: lock_pending_blob :value
-- The tenant's key FOR SHARE against its destruction at the same time: that waits for this transaction and then deletes
-- its chunks too, or was first, and then there is no row. Before the content, as everywhere: a destruction that has the
-- key goes on to lock the contents.
SELECT b.id
FROM blobs AS b
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE b.id = $1 AND b.index_state = 'pending' AND t.wrapped_key IS NOT NULL
FOR SHARE OF t
FOR UPDATE OF b;

-- name: allocate_chunk_ids :many
SELECT nextval('chunks_id_seq') AS id FROM generate_series(1, $1::int);

-- name: insert_embeddings :exec
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT $1, vector.chunk_id, current_tenant(), $2, vector.embedding::halfvec
FROM unnest($3::bigint[], $4::text[]) AS vector (chunk_id, embedding);

-- name: insert_chunks :exec
-- Locked as it is read: whoever renews the average comes before, and these are weighted by the new one, or waits, and weights
-- them again. Read alone it could be the one of before, of passages that the reweighting did not see.
WITH passage AS MATERIALIZED (
    SELECT
        p.id,
        p.ordinal,
        p.start_offset,
        p.end_offset,
        p.page_start,
        p.page_end,
        p.token_count,
        decode(p.sealed_text, 'base64') AS sealed_text,
        to_tsvector($3::text::regconfig, p.searchable) AS lexemes
    FROM jsonb_to_recordset($2::jsonb) AS p (
        id bigint,
        ordinal int,
        start_offset int,
        end_offset int,
        page_start int,
        page_end int,
        sealed_text text,
        token_count int,
        searchable text
    )
), average AS (
    SELECT coalesce(
        (
            SELECT s.weighted_average FROM corpus_statistics AS s
            WHERE s.tenant_id = current_tenant() AND s.chunk_count > 0
            FOR NO KEY UPDATE
        ),
        (SELECT avg(term_count(lexemes))::real FROM passage)
    ) AS term_length
)

INSERT INTO chunks (
    id, tenant_id, blob_id, ordinal, start_offset, end_offset, page_start, page_end, sealed_text, token_count,
    dictionary, lexemes, terms
)
SELECT
    passage.id,
    current_tenant(),
    $1,
    passage.ordinal,
    passage.start_offset,
    passage.end_offset,
    passage.page_start,
    passage.page_end,
    passage.sealed_text,
    passage.token_count,
    $3,
    passage.lexemes,
    bm25_weights(passage.lexemes, average.term_length)
FROM passage
CROSS JOIN average;

-- name: mark_indexed :exec
UPDATE blobs SET index_state = 'indexed' WHERE id = $1;

-- name: mark_failed :exec
UPDATE blobs
SET index_state = 'failed', index_error_code = $2, index_error_message = $3
WHERE id = $1 AND index_state = 'pending';

-- name: is_average_stale :value
-- Stale is also what was weighted by a former formula, or in part: whoever weighted it was given up.
SELECT
    s.chunk_count > 0
    AND (
        s.formula < 2
        OR abs(s.term_total::real / s.chunk_count / greatest(s.weighted_average, 1) - 1) > $1::real
    )
FROM corpus_statistics AS s
WHERE s.tenant_id = current_tenant();

-- name: renew_average :value
-- Until the last passage is weighted by it (end_reweighting) the weights are of several.
UPDATE corpus_statistics
SET weighted_average = term_total::real / greatest(chunk_count, 1), formula = 0
WHERE tenant_id = current_tenant()
RETURNING weighted_average;

-- name: end_reweighting :exec
UPDATE corpus_statistics SET formula = 2 WHERE tenant_id = current_tenant();

-- name: reweight_chunks :value
-- Answers the last chunk that was reweighted, nothing after the last one. SKIP LOCKED: what another transaction holds
-- here is being deleted, in an order of its own; waiting for it with a batch of locks in hand could be a deadlock.
WITH batch AS (
    SELECT c.id FROM chunks AS c
    WHERE c.tenant_id = current_tenant() AND c.id > $2
    ORDER BY c.id LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED
), reweighted AS (
    UPDATE chunks AS c
    SET terms = bm25_weights(c.lexemes, $1)
    FROM batch
    WHERE c.id = batch.id
    RETURNING c.id
)

SELECT max(id) FROM reweighted;

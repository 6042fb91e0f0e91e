-- name: list_models :many
SELECT id, name, dimensions, is_default, is_chosen, retired_at FROM list_embedding_models();

-- name: list_spaces :many
-- Brings its scope along.
SELECT
    (s.space).model_name AS name,
    (s.space).searched AS collection_ids,
    (s.space).is_of_tenant
FROM (SELECT search_spaces($1::uuid[], $2) AS space FROM enter_scope($3, $4, $5)) AS s;

-- name: lock_model :value
SELECT lock_embedding_model($1, $2);

-- name: lock_collection :value
-- Against its deletion at the same time.
SELECT c.id FROM collections AS c WHERE c.tenant_id = current_tenant() AND c.id = $1 FOR KEY SHARE;

-- name: count_missing :value
-- Of a tenant's passages those without a vector of a model.
SELECT count(*)
FROM chunks AS ch
WHERE
    ch.tenant_id = current_tenant()
    AND NOT EXISTS (SELECT FROM chunk_embeddings AS e WHERE e.chunk_id = ch.id AND e.model_id = $1);

-- name: count_missing_of_collection :value
SELECT count(DISTINCT ch.id)
FROM collection_documents AS m
INNER JOIN documents AS d ON m.tenant_id = d.tenant_id AND m.document_id = d.id
INNER JOIN chunks AS ch ON d.tenant_id = ch.tenant_id AND d.current_blob_id = ch.blob_id
WHERE
    m.tenant_id = current_tenant()
    AND m.collection_id = $2
    AND NOT EXISTS (SELECT FROM chunk_embeddings AS e WHERE e.chunk_id = ch.id AND e.model_id = $1);

-- name: choose :exec
INSERT INTO embedding_choices (tenant_id, collection_id, model_id) VALUES (current_tenant(), $2, $1)
ON CONFLICT (tenant_id, collection_id) DO UPDATE SET model_id = excluded.model_id;

-- name: forget_choices :exec
-- With the model of the tenant that of its collections changes, too.
DELETE FROM embedding_choices WHERE tenant_id = current_tenant() AND collection_id IS NOT NULL;

-- name: set_default :value
SELECT set_default_embedding_model($1);

-- name: retire :value
SELECT retire_embedding_model($1);

-- name: measure :one
SELECT
    b.is_paused,
    b.finished_at,
    (SELECT count(*) FROM chunks AS ch WHERE ch.tenant_id = t.id) AS passages,
    (SELECT count(*) FROM chunk_embeddings AS e WHERE e.tenant_id = t.id AND e.model_id = $1) AS embedded
FROM current_tenant() AS t (id)
LEFT JOIN embedding_backfills AS b ON t.id = b.tenant_id AND b.model_id = $1;

-- name: request_backfill :exec
INSERT INTO embedding_backfills (tenant_id, model_id) VALUES (current_tenant(), $1)
ON CONFLICT (tenant_id, model_id) DO UPDATE SET is_paused = false, has_gaps = true, finished_at = NULL;

-- name: report_gaps :exec
-- Of contents that were just written without vectors of models ($1: those that have some): of the models that should have
-- made some ($2), that anything is searched with, or that were at it already. Whoever claims to be finished at the same
-- time waits for this row, or this for them.
INSERT INTO embedding_backfills (tenant_id, model_id)
SELECT current_tenant(), m.id
FROM embedding_models AS m
WHERE
    m.retired_at IS NULL
    AND m.id <> ALL($1::smallint[])
    AND (
        m.is_default
        OR m.name = ANY($2::text[])
        OR EXISTS (SELECT FROM embedding_choices AS c WHERE c.tenant_id = current_tenant() AND c.model_id = m.id)
        OR EXISTS (SELECT FROM embedding_backfills AS b WHERE b.tenant_id = current_tenant() AND b.model_id = m.id)
    )
ORDER BY m.id
ON CONFLICT (tenant_id, model_id) DO UPDATE SET has_gaps = true, finished_at = NULL;

-- name: pause :exec
UPDATE embedding_backfills SET is_paused = $2 WHERE tenant_id = current_tenant() AND model_id = $1;

-- name: list_open_backfills :many
SELECT tenant_id, model_name FROM list_open_backfills();

-- name: claim :maybe
UPDATE embedding_backfills
SET fence = fence + 1, leased_until = now() + $2::interval
WHERE
    tenant_id = current_tenant()
    AND model_id = $1
    AND finished_at IS NULL
    AND NOT is_paused
    AND leased_until < now()
RETURNING fence, last_chunk_id;

-- name: list_to_embed :many
SELECT
    ch.id AS chunk_id,
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM chunks AS ch
INNER JOIN blobs AS b ON ch.blob_id = b.id
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    ch.tenant_id = current_tenant()
    AND ch.id > $2
    AND t.wrapped_key IS NOT NULL
    AND NOT EXISTS (SELECT FROM chunk_embeddings AS e WHERE e.chunk_id = ch.id AND e.model_id = $1)
ORDER BY ch.id
LIMIT $3;

-- name: insert_missing :value
-- Answers how many of the passages were there. SKIP LOCKED: what another transaction holds here is being deleted. Nothing is
-- embedded that is gone, and the vectors of what is being deleted would be left behind.
WITH present AS MATERIALIZED (
    SELECT ch.id, ch.blob_id
    FROM chunks AS ch
    WHERE ch.tenant_id = current_tenant() AND ch.id = ANY($2::bigint[])
    ORDER BY ch.id
    FOR KEY SHARE SKIP LOCKED
), added AS (
    INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
    SELECT $1, p.id, current_tenant(), p.blob_id, vector.embedding::halfvec
    FROM present AS p
    INNER JOIN unnest($2::bigint[], $3::text[]) AS vector (chunk_id, embedding) ON p.id = vector.chunk_id
    ON CONFLICT (chunk_id, model_id) DO NOTHING
)

SELECT count(*) FROM present;

-- name: advance :maybe
-- Nothing when another has it by now.
UPDATE embedding_backfills
SET last_chunk_id = $3, has_gaps = has_gaps OR $4, leased_until = now() + $5::interval
WHERE tenant_id = current_tenant() AND model_id = $1 AND fence = $2
RETURNING is_paused;

-- name: end_pass :maybe
-- Finished, or at the beginning again where passages may have come without vectors behind where it was. Given up at once.
UPDATE embedding_backfills
SET
    finished_at = CASE WHEN has_gaps THEN NULL ELSE now() END,
    has_gaps = false,
    last_chunk_id = 0,
    leased_until = CASE WHEN has_gaps THEN leased_until ELSE '-infinity' END
WHERE tenant_id = current_tenant() AND model_id = $1 AND fence = $2
RETURNING finished_at IS NOT NULL AS is_finished;

-- name: release :exec
UPDATE embedding_backfills SET leased_until = '-infinity'
WHERE tenant_id = current_tenant() AND model_id = $1 AND fence = $2;

-- name: lock_retired_model :value
SELECT lock_retired_model($1);

-- name: find_rebuild :maybe
-- Of an index's owner, as all of these.
SELECT
    r.fence,
    r.begun_at,
    r.ended_at,
    r.phase,
    r.done,
    r.total,
    r.index_bytes,
    r.vectors,
    r.ended_at IS NULL AND r.leased_until > now() AS is_under_way
FROM index_rebuilds AS r
WHERE r.model_id = $1;

-- name: claim_rebuild :value
-- Its fence; nothing while another worker's lease lasts, nor once one has had it since the caller looked ($3: the fence then).
INSERT INTO index_rebuilds AS r (model_id, leased_until) VALUES ($1, now() + $2::interval)
ON CONFLICT (model_id) DO UPDATE SET
    fence = r.fence + 1, leased_until = excluded.leased_until, begun_at = now(), ended_at = NULL,
    phase = '', done = 0, total = 0
WHERE r.leased_until < now() AND r.fence = $3
RETURNING r.fence;

-- name: report_rebuild :value
-- Nothing when it is another's by now.
UPDATE index_rebuilds SET phase = $3, done = $4, total = $5, leased_until = now() + $6::interval
WHERE model_id = $1 AND fence = $2
RETURNING true;

-- name: end_rebuild :exec
UPDATE index_rebuilds
SET phase = '', index_bytes = $3, vectors = $4, ended_at = now(), leased_until = '-infinity'
WHERE model_id = $1 AND fence = $2;

-- name: release_rebuild :exec
UPDATE index_rebuilds SET leased_until = '-infinity' WHERE model_id = $1 AND fence = $2;

-- name: delete_vectors :value
-- Of the tenant's next passages; answers the last of them, nothing after the last one.
WITH batch AS MATERIALIZED (
    SELECT ch.id FROM chunks AS ch
    WHERE ch.tenant_id = current_tenant() AND ch.id > $2
    ORDER BY ch.id LIMIT $3
), deleted AS (
    DELETE FROM chunk_embeddings AS e USING batch
    WHERE e.chunk_id = batch.id AND e.model_id = $1
)

SELECT max(id) FROM batch;

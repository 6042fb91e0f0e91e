-- name: find_space :maybe
-- Where a model's vectors are outside, once all of them are.
SELECT o.id AS index_id, m.id AS model_id
FROM outside_index AS o
CROSS JOIN embedding_models AS m
WHERE o.is_wanted AND o.is_complete AND m.name = $1 AND m.dimensions = $2;

-- name: compare_vectors :many
SELECT chunk_id, score
FROM compare_vectors($1::uuid[], $2::uuid[], $3, $4::text::jsonpath, $5, $6::text::halfvec, $7, $8, $9);

-- name: admit_vectors :many
SELECT chunk_id, score
FROM admit_vectors($1::uuid[], $2::uuid[], $3, $4::text::jsonpath, $5, $6::text::halfvec, $7::bigint[], $8);

-- name: list_spaces :many
-- Where the vectors of every model that is not retired are to be outside; none where no index outside is wanted.
SELECT o.id AS index_id, m.id AS model_id, m.dimensions, o.is_complete
FROM outside_index AS o
CROSS JOIN embedding_models AS m
WHERE o.is_wanted AND m.retired_at IS NULL
ORDER BY m.id;

-- name: set_complete :exec
UPDATE outside_index SET is_complete = $2 WHERE id = $1 AND is_wanted AND is_complete <> $2;

-- name: lease_pending_vectors :many
SELECT id, tenant_id, chunk_ids FROM lease_pending_vectors($1, $2);

-- name: list_embeddings :many
SELECT model_id, chunk_id, embedding::text AS embedding
FROM chunk_embeddings
WHERE tenant_id = current_tenant() AND chunk_id = ANY($1::bigint[]);

-- name: delete_pending_vectors :exec
DELETE FROM pending_vectors WHERE id = $1;

-- name: list_vectors :many
SELECT chunk_id, tenant_id FROM list_vectors($1, $2, $3);

-- name: find_vectors :many
SELECT f.chunk_id FROM find_vectors($1, $2::bigint[]) AS f (chunk_id);

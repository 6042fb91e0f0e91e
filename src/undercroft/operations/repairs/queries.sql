-- name: lock_blob :value
-- Against the job that indexes it at the same time, which takes the same lock before it writes passages.
SELECT b.id FROM blobs AS b WHERE b.tenant_id = current_tenant() AND b.id = $1 FOR UPDATE;

-- name: delete_chunks :exec
DELETE FROM chunks AS c WHERE c.tenant_id = current_tenant() AND c.blob_id = $1;

-- name: unmark_indexed :exec
UPDATE blobs SET index_state = 'unindexed'
WHERE tenant_id = current_tenant() AND id = $1 AND index_state = 'indexed';

-- name: find_member_owner :value
-- Whose content it is, where it is in a collection; also while it is in the trash, from where it may come back.
SELECT d.owner_id
FROM document_versions AS v
INNER JOIN documents AS d
    ON v.document_id = d.id AND v.number = d.current_version AND NOT d.is_sealed
INNER JOIN collection_documents AS m ON d.tenant_id = m.tenant_id AND d.id = m.document_id
WHERE v.tenant_id = current_tenant() AND v.blob_id = $1
ORDER BY d.id
LIMIT 1;

-- name: lock_corpus :exec
-- Whoever adds or deletes passages changes this row first (count_added_chunks) and so waits; what committed before is
-- seen by the statements that follow.
INSERT INTO corpus_statistics AS s (tenant_id) VALUES (current_tenant())
ON CONFLICT (tenant_id) DO UPDATE SET chunk_count = s.chunk_count;

-- name: delete_terms :exec
DELETE FROM term_statistics WHERE tenant_id = current_tenant();

-- name: insert_terms :exec
INSERT INTO term_statistics (tenant_id, term, chunk_count)
SELECT c.tenant_id, word.lexeme, count(*)
FROM chunks AS c
CROSS JOIN unnest(c.lexemes) AS word
WHERE c.tenant_id = current_tenant()
GROUP BY c.tenant_id, word.lexeme;

-- name: update_corpus :exec
-- The average that the stored weights were made with stays, where there is one; else they are weighted again.
WITH derived AS (
    SELECT
        count(*) AS chunk_count,
        coalesce(sum(term_count(c.lexemes)), 0) AS term_total,
        coalesce(avg(term_count(c.lexemes)), 0)::real AS average,
        coalesce(array_agg(DISTINCT c.dictionary::text), '{}') AS languages
    FROM chunks AS c
    WHERE c.tenant_id = current_tenant()
)

UPDATE corpus_statistics AS s
SET
    chunk_count = d.chunk_count,
    term_total = d.term_total,
    languages = d.languages,
    formula = CASE WHEN s.weighted_average > 0 THEN s.formula ELSE 0 END,
    weighted_average = CASE WHEN s.weighted_average > 0 THEN s.weighted_average ELSE d.average END
FROM derived AS d
WHERE s.tenant_id = current_tenant();

-- name: lock_log :value
-- Against the sequencer, which adds hashes.
SELECT l.size FROM ledger_logs AS l WHERE l.tenant_id = current_tenant() FOR UPDATE;

-- name: delete_tiles :exec
DELETE FROM ledger_tiles WHERE tenant_id = current_tenant();

-- name: insert_tiles :exec
INSERT INTO ledger_tiles (tenant_id, level, position, hash)
SELECT current_tenant(), t.level, t.position, t.hash
FROM unnest($1::int[], $2::bigint[], $3::bytea[]) AS t (level, position, hash);

-- name: list_leaves :many
SELECT e.leaf
FROM ledger_entries AS e
WHERE e.tenant_id = current_tenant() AND e.position >= $1 AND e.position < $1 + $2::int
ORDER BY e.position;

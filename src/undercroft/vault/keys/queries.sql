-- name: find_current_tenant_key :maybe
-- Answers a destroyed key too: nothing may be created for a tenant whose key is gone.
SELECT k.id, k.tenant_id, k.wrapped_key
FROM tenant_keys AS k
WHERE k.tenant_id = current_tenant() AND k.is_current;

-- name: insert_first_tenant_key :exec
-- Nothing when another transaction was first: its key is the one to read.
INSERT INTO tenant_keys (id, tenant_id, number, wrapped_key, is_current)
VALUES ($1, current_tenant(), 1, $2, true)
ON CONFLICT DO NOTHING;

-- name: insert_data_key :value
-- Answers the id, or nothing when the tenant's key is no longer the current one: whoever asked reads the new one and
-- tries again. FOR SHARE against a rotation at the same time: it waits for this transaction before it makes another key
-- current, and then finds this data key among those that it has to wrap anew.
WITH current_key AS (
    SELECT k.id FROM tenant_keys AS k
    WHERE k.id = $2 AND k.is_current AND k.wrapped_key IS NOT NULL
    FOR SHARE
)

INSERT INTO data_keys (id, tenant_id, tenant_key_id, wrapped_key, salt)
SELECT $1, current_tenant(), current_key.id, $3, $4
FROM current_key
RETURNING id;

-- name: find_data_key :maybe
SELECT
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM data_keys AS k
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE k.id = $1;

-- name: delete_data_keys :exec
DELETE FROM data_keys WHERE id = ANY($1::uuid[]);

-- name: find_lookup_key :maybe
SELECT
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM lookup_keys AS l
INNER JOIN data_keys AS k ON l.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE l.tenant_id = current_tenant();

-- name: insert_lookup_key :value
INSERT INTO lookup_keys (tenant_id, data_key_id)
VALUES (current_tenant(), $1)
ON CONFLICT DO NOTHING
RETURNING data_key_id;

-- name: lock_current_tenant_key :maybe
-- Against two rotations at once: the second waits, and then finds the first one's key.
SELECT k.id, k.tenant_id, k.number, k.wrapped_key
FROM tenant_keys AS k
WHERE k.tenant_id = current_tenant() AND k.is_current
FOR UPDATE;

-- name: retire_tenant_key :exec
-- Waits for every transaction that is writing a data key under it (insert_data_key locks it FOR SHARE).
UPDATE tenant_keys SET is_current = FALSE WHERE id = $1;

-- name: insert_next_tenant_key :exec
INSERT INTO tenant_keys (id, tenant_id, number, wrapped_key, is_current)
VALUES ($1, current_tenant(), $2, $3, TRUE);

-- name: count_stale_data_keys :value
SELECT count(*)
FROM tenant_keys AS t
INNER JOIN data_keys AS k ON t.tenant_id = k.tenant_id AND t.id = k.tenant_key_id
WHERE t.tenant_id = current_tenant() AND NOT t.is_current;

-- name: list_stale_data_keys :many
-- SKIP LOCKED: whoever holds one of these is deleting rows in an order of its own; waiting for it with a batch of locks in
-- hand could be a deadlock. What is skipped and stays is waited for by wait_for_stale_data_key.
SELECT
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM tenant_keys AS t
INNER JOIN data_keys AS k ON t.tenant_id = k.tenant_id AND t.id = k.tenant_key_id
WHERE t.tenant_id = current_tenant() AND NOT t.is_current AND k.id > $1
ORDER BY k.id
LIMIT $2
FOR UPDATE OF k SKIP LOCKED;

-- name: wait_for_stale_data_key :many
-- One at a time: this transaction holds no other while it waits. Chosen before it is locked: if another rotation has
-- wrapped it by then, a LIMIT would keep its lock, go on to the next one and wait for that.
SELECT
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM tenant_keys AS t
INNER JOIN data_keys AS k ON t.tenant_id = k.tenant_id AND t.id = k.tenant_key_id
WHERE
    t.tenant_id = current_tenant()
    AND NOT t.is_current
    AND k.id = (
        SELECT s.id
        FROM tenant_keys AS f
        INNER JOIN data_keys AS s ON f.tenant_id = s.tenant_id AND f.id = s.tenant_key_id
        WHERE f.tenant_id = current_tenant() AND NOT f.is_current AND s.id > $1
        ORDER BY s.id
        LIMIT 1
    )
FOR UPDATE OF k;

-- name: rewrap_data_keys :exec
UPDATE data_keys AS k
SET tenant_key_id = $1, wrapped_key = renewed.wrapped_key
FROM unnest($2::uuid[], $3::bytea[]) AS renewed (id, wrapped_key)
WHERE k.id = renewed.id;

-- name: destroy_unused_tenant_keys :exec
UPDATE tenant_keys AS t
SET wrapped_key = NULL
WHERE
    t.tenant_id = current_tenant()
    AND NOT t.is_current
    AND t.wrapped_key IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM data_keys AS k WHERE k.tenant_id = t.tenant_id AND k.tenant_key_id = t.id
    );

-- name: count_tenant_keys :value
-- Destroyed ones too.
SELECT count(*) FROM tenant_keys WHERE tenant_id = current_tenant();

-- name: lock_all_tenant_keys :exec
-- Waits for every transaction that writes under them (FOR SHARE), and holds off those to come.
SELECT k.id FROM tenant_keys AS k WHERE k.tenant_id = current_tenant() ORDER BY k.number FOR UPDATE;

-- name: lock_blobs :value
-- Some of the tenant's contents, in the order of their ids; answers the last of them. Whoever writes or deletes chunks
-- has locked their content first: once all are locked, no chunk and no statistics are waited for.
SELECT locked.id FROM (
    SELECT b.id FROM blobs AS b
    WHERE b.tenant_id = current_tenant() AND b.id > $1
    ORDER BY b.id LIMIT $2
    FOR UPDATE
) AS locked
ORDER BY locked.id DESC
LIMIT 1;

-- name: empty_records :value
-- What some of the tenant's records, in the order of their ids, are found by; answers the last of them.
WITH batch AS (
    SELECT r.id FROM records AS r
    WHERE r.tenant_id = current_tenant() AND r.id > $1
    ORDER BY r.id LIMIT $2
    FOR UPDATE
), emptied AS (
    UPDATE records SET plain = '{}' WHERE id IN (SELECT batch.id FROM batch)
), forgotten AS (
    DELETE FROM record_digests WHERE record_id IN (SELECT batch.id FROM batch)
)

SELECT batch.id FROM batch ORDER BY batch.id DESC LIMIT 1;

-- name: count_chunks :value
SELECT coalesce((SELECT s.chunk_count FROM corpus_statistics AS s WHERE s.tenant_id = current_tenant()), 0);

-- name: destroy_tenant_keys :exec
UPDATE tenant_keys SET wrapped_key = NULL WHERE tenant_id = current_tenant() AND wrapped_key IS NOT NULL;

-- name: delete_index_batch :value
SELECT delete_index_batch($1, $2);

-- name: list_destroyed_blobs :many
-- The stored bytes of a tenant whose keys were destroyed.
SELECT b.id, b.stored_name
FROM blobs AS b
WHERE
    b.tenant_id = current_tenant()
    AND b.id > $1
    AND EXISTS (SELECT FROM tenant_keys AS k WHERE k.tenant_id = b.tenant_id AND k.is_current AND k.wrapped_key IS NULL)
ORDER BY b.id
LIMIT $2;

-- name: list_tenant_keys :many
SELECT k.id, k.tenant_id, k.wrapped_key
FROM tenant_keys AS k
WHERE k.tenant_id = current_tenant() AND k.wrapped_key IS NOT NULL;

-- name: rewrap_tenant_key :exec
-- Only what was read: a key that was destroyed meanwhile must stay destroyed.
UPDATE tenant_keys SET wrapped_key = $2 WHERE id = $1 AND wrapped_key = $3;

-- name: lock_tenant_keys :exec
-- Replacing a tenant's key and destroying all of them exclude each other: a destruction that had begun would not see the
-- key that a rotation commits while it waits, and leave it. A statement of its own: the next one sees what was awaited.
SELECT pg_advisory_xact_lock(hashtextextended('tenant_keys ' || current_tenant()::text, 0));

-- name: hold_tenant_keys :exec
-- Shared: it waits for whoever has lock_tenant_keys, and keeps others from it. Not a lock on the current key's row: of one
-- that is replaced while this waits, the statement would not see the successor.
SELECT pg_advisory_xact_lock_shared(hashtextextended('tenant_keys ' || current_tenant()::text, 0));

-- name: list_columns :many
-- Generated columns make themselves.
SELECT c.relname AS table_name, a.attname AS column_name
FROM pg_class AS c
INNER JOIN pg_attribute AS a ON c.oid = a.attrelid
WHERE
    c.relnamespace = 'public'::regnamespace
    AND c.relkind = 'r'
    AND a.attnum > 0
    AND NOT a.attisdropped
    AND a.attgenerated = ''
ORDER BY c.relname, a.attnum;

-- name: list_references :many
SELECT c.relname AS table_name, f.relname AS referenced
FROM pg_constraint AS r
INNER JOIN pg_class AS c ON r.conrelid = c.oid
INNER JOIN pg_class AS f ON r.confrelid = f.oid
WHERE r.contype = 'f' AND c.relnamespace = 'public'::regnamespace
ORDER BY c.relname, f.relname;

-- name: list_applied_migrations :many
SELECT version, checksum FROM schema_migrations ORDER BY version;

-- name: list_blobs :many
-- Not those of a destroyed tenant: their bytes, which nobody can read, are deleted.
SELECT b.id, b.stored_name, b.byte_size
FROM blobs AS b
INNER JOIN data_keys AS k ON b.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE b.tenant_id = current_tenant() AND b.id > $1 AND t.wrapped_key IS NOT NULL
ORDER BY b.id
LIMIT $2;

-- name: blob_exists :value
-- Not where the tenant was destroyed: its bytes are deleted, and the row stays.
SELECT EXISTS (
    SELECT FROM blobs AS b
    INNER JOIN data_keys AS k ON b.data_key_id = k.id
    INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
    WHERE b.tenant_id = current_tenant() AND b.id = $1 AND t.wrapped_key IS NOT NULL
);

-- name: find_log :maybe
SELECT l.id, l.size, l.checkpoint FROM ledger_logs AS l WHERE l.tenant_id = current_tenant();

-- name: find_filled_table :value
-- Of the tables that have rows in an installation that was ever used.
SELECT CASE
    WHEN EXISTS (SELECT FROM tenants) THEN 'tenants'
    WHEN EXISTS (SELECT FROM ledger_logs) THEN 'ledger_logs'
    WHEN EXISTS (SELECT FROM jobs) THEN 'jobs'
END;

-- name: renumber_pending_entries :exec
-- Transaction ids of another server say nothing here: all get that of the restore, which every later one exceeds, and
-- fresh ordinals in the order that they had.
WITH moved AS (
    DELETE FROM ledger_pending
    RETURNING
        tenant_id, xid, ordinal, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome,
        grant_id, purpose, trace, refusals, leaf
)

INSERT INTO ledger_pending (
    tenant_id, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose,
    trace, refusals, leaf
)
SELECT
    m.tenant_id, m.id, m.occurred_at, m.actor_id, m.owner_id, m.on_behalf_of, m.action, m.resource, m.version,
    m.outcome, m.grant_id, m.purpose, m.trace, m.refusals, m.leaf
FROM moved AS m
ORDER BY m.xid, m.ordinal;

-- name: forget_index :exec
-- The index is not in a backup. What failed, failed for a reason that has not gone.
UPDATE blobs SET index_state = 'unindexed' WHERE tenant_id = current_tenant() AND index_state IN ('pending', 'indexed');

-- name: delete_parts :exec
-- The bytes of parts are not in a backup. Triggers delete their keys; that of an upload goes after its parts'.
DELETE FROM upload_parts WHERE tenant_id = current_tenant();

-- name: delete_uploads :exec
-- Completed ones, too: they live for an hour, and the job that ends them is not in a backup.
DELETE FROM uploads WHERE tenant_id = current_tenant();

-- name: count_user_usage :exec
INSERT INTO user_usage (tenant_id, owner_id, byte_size)
SELECT b.tenant_id, b.owner_id, sum(b.byte_size)
FROM blobs AS b
WHERE b.tenant_id = current_tenant()
GROUP BY b.tenant_id, b.owner_id;

-- name: count_tenant_usage :exec
INSERT INTO tenant_usage (tenant_id, byte_size)
SELECT b.tenant_id, sum(b.byte_size)
FROM blobs AS b
WHERE b.tenant_id = current_tenant()
GROUP BY b.tenant_id;

-- name: list_unindexed_members :many
-- Those in the trash too: they may come back.
SELECT DISTINCT v.blob_id, d.owner_id
FROM collection_documents AS m
INNER JOIN documents AS d ON m.tenant_id = d.tenant_id AND m.document_id = d.id
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
WHERE
    m.tenant_id = current_tenant()
    AND NOT d.is_sealed
    AND b.index_state = 'unindexed'
    AND v.blob_id > $1
ORDER BY v.blob_id
LIMIT $2;

-- name: delete_holders :exec
-- The documents of contents whose bytes were deleted while the backup ran: they were being erased.
DELETE FROM documents AS d
USING document_versions AS v
WHERE d.tenant_id = current_tenant() AND v.document_id = d.id AND v.blob_id = ANY($1::uuid[]);

-- name: delete_unused_blobs :exec
DELETE FROM blobs AS b
WHERE
    b.tenant_id = current_tenant()
    AND NOT EXISTS (SELECT FROM document_versions AS v WHERE v.tenant_id = b.tenant_id AND v.blob_id = b.id);

-- name: has_stored_name :value
SELECT EXISTS (SELECT FROM blobs AS b WHERE b.tenant_id = $1 AND b.stored_name = $2);

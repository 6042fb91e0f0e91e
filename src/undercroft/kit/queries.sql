-- name: set_scope :value
SELECT
    set_config('undercroft.tenant_id', $1::text, true)
    || set_config('undercroft.principal_id', $2::text, true);

-- name: lock_migrations :value
SELECT pg_advisory_xact_lock(hashtextextended('undercroft.migrations', 0));

-- name: list_applied_migrations :many
SELECT version, checksum FROM schema_migrations ORDER BY version;

-- name: insert_applied_migration :exec
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3);

-- name: get_schema_version :value
SELECT coalesce(max(version), 0) FROM schema_migrations;

-- name: is_migrated :value
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: role_exists :value
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1);

-- name: grant_service_role :value
SELECT grant_service_role($1);

-- name: register_embedding_model :value
SELECT register_embedding_model($1, $2);

-- name: is_model_registered :value
-- Whether nothing is left to do: to make an index that is there would wait for whoever builds it anew all the same.
SELECT EXISTS (
    SELECT
    FROM embedding_models AS m
    WHERE
        m.name = $1
        AND m.dimensions = $2
        AND m.retired_at IS NULL
        AND to_regclass('chunk_embeddings_hnsw_' || m.id) IS NOT NULL
);

-- name: adopt_embedding_model :exec
SELECT adopt_embedding_model($1);

-- name: want_outside_index :value
SELECT want_outside_index($1);

-- name: inspect_server :one
SELECT
    current_setting('server_version_num')::int AS version,
    r.rolsuper OR r.rolbypassrls AS is_above_policies,
    pg_has_role(current_user, d.datdba, 'MEMBER') AS is_owner,
    current_database() AS database_name,
    has_database_privilege(current_database(), 'CREATE, TEMPORARY')
    OR coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), false) AS may_create,
    (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'vector') AS vector_version
FROM pg_roles AS r
CROSS JOIN pg_database AS d
WHERE r.rolname = current_user AND d.datname = current_database();

-- name: measure_index :maybe
SELECT
    i.indisvalid AS is_valid,
    pg_relation_size(i.indexrelid) AS index_bytes
FROM pg_index AS i
WHERE i.indexrelid = to_regclass($1::text);

-- name: lock_index :value
SELECT pg_try_advisory_lock(hashtextextended($1, 0));

-- name: list_leftovers :many
-- What REINDEX CONCURRENTLY leaves when it is interrupted.
SELECT c.relname AS name
FROM pg_index AS i
INNER JOIN pg_class AS c ON i.indexrelid = c.oid
WHERE NOT i.indisvalid AND c.relnamespace = 'public'::regnamespace AND starts_with(c.relname, $1)
ORDER BY c.relname;

-- name: watch_index :maybe
SELECT
    p.phase,
    greatest(p.tuples_done, p.blocks_done) AS done,
    greatest(p.tuples_total, p.blocks_total) AS total
FROM pg_stat_progress_create_index AS p
WHERE p.pid = $1;

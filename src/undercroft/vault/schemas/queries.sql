-- name: insert_schema :exec
INSERT INTO schemas (id, tenant_id, owner_id, data_key_id, sealed_name)
VALUES ($1, current_tenant(), current_principal(), $2, $3);

-- name: insert_schema_version :exec
-- Which fields are personal stands beside it in the clear: the database decides by it whether a record may be shared.
INSERT INTO schema_versions (tenant_id, schema_id, number, sealed_definition, personal_fields)
VALUES (current_tenant(), $1, $2, $3, $4);

-- name: find_schema :maybe
-- Without a number, the latest version.
SELECT
    s.id,
    s.owner_id,
    s.sealed_name,
    s.current_version,
    v.number,
    v.sealed_definition,
    v.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM schemas AS s
INNER JOIN schema_versions AS v ON s.id = v.schema_id AND coalesce($2::int, s.current_version) = v.number
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE s.id = $1;

-- name: list_schemas :many
SELECT
    s.id,
    s.owner_id,
    s.sealed_name,
    s.current_version,
    v.number,
    v.sealed_definition,
    v.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM schemas AS s
INNER JOIN schema_versions AS v ON s.id = v.schema_id AND s.current_version = v.number
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE s.tenant_id = current_tenant() AND ($1::uuid IS NULL OR s.id > $1)
ORDER BY s.id
LIMIT $2;

-- name: list_schema_versions :many
SELECT
    s.id,
    s.owner_id,
    s.sealed_name,
    s.current_version,
    v.number,
    v.sealed_definition,
    v.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM schemas AS s
INNER JOIN schema_versions AS v ON s.id = v.schema_id
INNER JOIN data_keys AS k ON s.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE s.id = $1 AND v.number > $2
ORDER BY v.number
LIMIT $3;

-- name: lock_schema :exec
-- Against another new version at the same time, which would get the same number.
SELECT s.id FROM schemas AS s WHERE s.id = $1 FOR NO KEY UPDATE;

-- name: advance_schema :exec
UPDATE schemas SET current_version = $2 WHERE id = $1;

-- name: delete_schema :exec
DELETE FROM schemas WHERE id = $1;

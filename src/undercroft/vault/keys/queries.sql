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

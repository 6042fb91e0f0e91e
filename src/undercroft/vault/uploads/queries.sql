-- name: insert_upload :exec
INSERT INTO uploads (id, tenant_id, owner_id, purpose, byte_size, data_key_id, sealed_name)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4, $5);

-- name: find_upload :maybe
SELECT
    u.id,
    u.tenant_id,
    u.sealed_name,
    u.purpose,
    u.byte_size,
    u.document_id,
    u.created_at,
    u.expires_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    u.expires_at <= now() AS is_overdue,
    CASE WHEN u.state = 'pending' AND u.expires_at <= now() THEN 'expired' ELSE u.state END AS state
FROM uploads AS u
INNER JOIN data_keys AS k ON u.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE u.id = $1 AND u.owner_id = current_principal();

-- name: lock_upload :exec
-- Completing, cancelling, expiring and adding a part exclude each other: whoever comes second sees what the first has
-- made of the upload. A statement of its own: the next one sees what was awaited.
SELECT id FROM uploads WHERE id = $1 AND owner_id = current_principal() FOR UPDATE;

-- name: find_upload_owner :maybe
-- Of any of the tenant's uploads, to put on record who was refused it.
SELECT u.owner_id, k.salt
FROM uploads AS u
INNER JOIN data_keys AS k ON u.data_key_id = k.id
WHERE u.id = $1;

-- name: find_upload_salt :value
SELECT k.salt
FROM uploads AS u
INNER JOIN data_keys AS k ON u.data_key_id = k.id
WHERE u.id = $1 AND u.owner_id = current_principal();

-- name: take_part :value
-- Answers the upload's id, or nothing when it has all the parts it may have.
UPDATE uploads SET received_bytes = received_bytes + $2, part_count = part_count + 1
WHERE id = $1 AND part_count < $3 AND received_bytes + $2 <= 2 * byte_size
RETURNING id;

-- name: insert_part :value
INSERT INTO upload_parts (id, tenant_id, owner_id, upload_id, byte_size, data_key_id, stored_name)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4, $5)
RETURNING created_at;

-- name: list_parts :many
-- Those of the given parts that are the upload's, with their keys.
SELECT
    p.id,
    p.tenant_id,
    p.stored_name,
    p.byte_size,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM upload_parts AS p
INNER JOIN data_keys AS k ON p.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE p.tenant_id = current_tenant() AND p.upload_id = $1 AND p.id = ANY($2::uuid[]);

-- name: delete_parts :many
-- Answers the names of their bytes, which the caller deletes after the commit.
DELETE FROM upload_parts WHERE tenant_id = current_tenant() AND upload_id = $1
RETURNING stored_name;

-- name: complete_upload :exec
UPDATE uploads SET state = 'completed', document_id = $2 WHERE id = $1;

-- name: cancel_upload :exec
UPDATE uploads SET state = 'cancelled' WHERE id = $1;

-- name: delete_upload :exec
DELETE FROM uploads WHERE id = $1;

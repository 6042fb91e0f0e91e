-- name: authenticate_api_key :maybe
SELECT key_id, tenant_id, user_id, role FROM authenticate_api_key($1);

-- name: find_tenant :value
SELECT find_tenant($1);

-- name: insert_tenant :value
INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id;

-- name: upsert_user :one
INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, coalesce($4, 'member'))
ON CONFLICT (tenant_id, email) DO UPDATE SET role = coalesce($4, users.role)
RETURNING id, tenant_id, email, role, ledger_salt;

-- name: insert_api_key :exec
INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash, expires_at) VALUES ($1, $2, $3, $4, $5, $6);

-- name: revoke_api_keys :many
UPDATE api_keys AS k SET revoked_at = coalesce(k.revoked_at, now())
FROM users AS u
WHERE k.prefix = $1 AND u.tenant_id = k.tenant_id AND u.id = k.user_id
RETURNING k.id, k.user_id, u.ledger_salt;

-- name: list_tenants :many
SELECT tenant_id FROM list_tenants($1, $2) AS tenant_id;

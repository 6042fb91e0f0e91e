-- name: authenticate_api_key :maybe
SELECT credential_id, tenant_id, user_id, actor_id, kind, role, scopes, must_enrol
FROM authenticate_api_key($1);

-- name: authenticate_access_token :maybe
SELECT credential_id, tenant_id, user_id, actor_id, kind, role, scopes, must_enrol
FROM authenticate_access_token($1);

-- name: find_tenant :value
SELECT find_tenant($1);

-- name: insert_tenant :value
INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id;

-- name: may_use_outside_tools :value
SELECT t.allows_outside_tools FROM tenants AS t WHERE t.id = current_tenant();

-- name: allow_outside_tools :exec
UPDATE tenants SET allows_outside_tools = $1 WHERE id = current_tenant();

-- name: insert_user :maybe
INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, email) DO NOTHING
RETURNING id, tenant_id, email, kind, role, ledger_salt;

-- name: find_user_id :value
SELECT id FROM users WHERE tenant_id = current_tenant() AND email = $1;

-- name: insert_guest :maybe
INSERT INTO users (id, tenant_id, email, role, kind) VALUES ($1, $2, $3, 'member', 'guest')
ON CONFLICT (tenant_id, email) DO NOTHING
RETURNING id, tenant_id, email, kind, role, ledger_salt;

-- name: lock_user :one
-- Of two who change a role at once, the second sees what the first has made of it.
SELECT id, tenant_id, email, kind, role, ledger_salt
FROM users
WHERE tenant_id = $1 AND email = $2
FOR NO KEY UPDATE;

-- name: update_role :exec
UPDATE users SET role = $2, revision = revision + 1 WHERE id = $1;

-- name: find_key_expiry :value
-- When the API key ends that something is asked by; NULL for never, and for what is none.
SELECT expires_at FROM api_keys WHERE tenant_id = current_tenant() AND id = $1;

-- name: find_key_salt :value
-- Keys have none of their own: they are their user's.
SELECT u.ledger_salt
FROM api_keys AS k
INNER JOIN users AS u ON k.tenant_id = u.tenant_id AND k.user_id = u.id
WHERE k.id = $1;

-- name: insert_api_key :exec
INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash, expires_at, scopes)
VALUES ($1, current_tenant(), $2, $3, $4, $5, $6);

-- name: count_living_keys :value
SELECT count(*) FROM api_keys
WHERE tenant_id = current_tenant() AND user_id = $1 AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > now());

-- name: find_api_key :maybe
SELECT id, user_id, prefix, scopes, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE user_id = $1 AND id = $2;

-- name: list_api_keys :many
SELECT id, user_id, prefix, scopes, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE tenant_id = current_tenant() AND user_id = $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id
LIMIT $3;

-- name: list_held_keys :many
SELECT
    k.id, k.user_id, k.prefix, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
    coalesce(u.email, u.name, '') AS holder
FROM api_keys AS k
INNER JOIN users AS u ON k.tenant_id = u.tenant_id AND k.user_id = u.id
WHERE k.tenant_id = current_tenant() AND ($1::uuid IS NULL OR k.user_id = $1)
  AND ($2::uuid IS NULL OR (k.user_id, k.id) > ($2, $3::uuid))
ORDER BY k.user_id, k.id
LIMIT $4;

-- name: revoke_api_key :value
UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id;

-- name: revoke_api_keys :many
UPDATE api_keys AS k SET revoked_at = coalesce(k.revoked_at, now())
FROM users AS u
WHERE k.prefix = $1 AND u.tenant_id = k.tenant_id AND u.id = k.user_id
RETURNING k.id, k.user_id, u.ledger_salt;

-- name: list_tenants :many
SELECT tenant_id FROM list_tenants($1, $2) AS tenant_id;

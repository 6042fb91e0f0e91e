-- name: find_live_access_token :maybe
SELECT id AS credential_id, tenant_id, user_id, actor_id, kind, role, scopes, created_at, expires_at, ledger_salt
FROM live_access_tokens
WHERE tenant_id = current_tenant() AND token_hash = $1;

-- name: find_live_api_key :maybe
SELECT
    id AS credential_id, tenant_id, user_id, NULL::uuid AS actor_id, kind, role, scopes, created_at, expires_at,
    ledger_salt
FROM live_api_keys
WHERE tenant_id = current_tenant() AND key_hash = $1;

-- name: revoke_access_token :maybe
-- Of two who end it at once, one does.
UPDATE access_tokens AS t SET revoked_at = now()
FROM users AS u
WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND t.expires_at > now()
  AND u.tenant_id = t.tenant_id AND u.id = t.user_id
RETURNING t.user_id, u.ledger_salt;

-- name: revoke_api_key :maybe
UPDATE api_keys AS k SET revoked_at = now()
FROM users AS u
WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
  AND u.tenant_id = k.tenant_id AND u.id = k.user_id
RETURNING k.id, k.user_id, u.ledger_salt;

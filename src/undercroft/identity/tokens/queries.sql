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

-- name: find_live_refresh_token :maybe
SELECT
    s.id AS credential_id, s.tenant_id, s.user_id, NULL::uuid AS actor_id, u.kind, u.role, NULL::text[] AS scopes,
    s.created_at, s.expires_at, u.ledger_salt
FROM sessions AS s
INNER JOIN users AS u ON s.tenant_id = u.tenant_id AND s.user_id = u.id
WHERE s.tenant_id = current_tenant() AND s.family_hash = $1 AND s.token_hash = $2
  AND s.ended_at IS NULL AND s.expires_at > now() AND u.suspended_at IS NULL;

-- name: end_session_of_token :maybe
-- Of two who end it at once, one does.
UPDATE sessions AS s SET ended_at = now(), end_reason = 'signed_out'
FROM users AS u
WHERE s.family_hash = $1 AND s.ended_at IS NULL AND s.expires_at > now()
  AND u.tenant_id = s.tenant_id AND u.id = s.user_id
RETURNING s.id, s.user_id, u.ledger_salt;

-- name: insert_exchanged_token :value
-- By the database's clock, as it is compared with. No row when the credential is no valid API key.
INSERT INTO access_tokens (
    id, tenant_id, user_id, actor_id, actor_key_id, subject_token_id, subject_key_id, token_hash, scopes, expires_at
)
SELECT
    $1::uuid, k.tenant_id, $3::uuid, k.user_id, k.id, $4::uuid, $5::uuid, $6::bytea, $7::text[],
    least(now() + $8::interval, $9::timestamptz, k.expires_at)
FROM live_api_keys AS k
WHERE k.tenant_id = current_tenant() AND k.id = $2
RETURNING expires_at;

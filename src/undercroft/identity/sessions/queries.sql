-- name: insert_session :one
-- The session's end is decided here, by the database's clock, and never moved.
INSERT INTO sessions (id, tenant_id, user_id, family_hash, token_hash, user_agent, expires_at, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + least($7::interval, $8::interval), now() + $8::interval)
RETURNING expires_at;

-- name: insert_access_token :value
-- Never longer than its session.
INSERT INTO access_tokens (id, tenant_id, user_id, session_id, token_hash, expires_at)
SELECT $1, s.tenant_id, s.user_id, s.id, $3, least(now() + $4::interval, s.ends_at)
FROM sessions AS s
WHERE s.id = $2
RETURNING expires_at;

-- name: find_session_owner :maybe
SELECT session_id, tenant_id, user_id FROM find_session($1);

-- name: lock_session :maybe
-- Of two refreshes at once, the second sees what the first has made of it.
SELECT
    s.token_hash,
    s.former_hash,
    s.former_salt,
    s.expires_at,
    s.ended_at IS NULL AND s.expires_at > now() AND u.suspended_at IS NULL AS is_live,
    s.refreshed_at > clock_timestamp() - $2::interval AS in_grace
FROM sessions AS s
INNER JOIN users AS u ON s.tenant_id = u.tenant_id AND s.user_id = u.id
WHERE s.id = $1
FOR UPDATE OF s;

-- name: replace_token :value
UPDATE sessions SET
    token_hash = $2,
    former_hash = token_hash,
    former_salt = $3,
    refreshed_at = clock_timestamp(),
    expires_at = least(now() + $4::interval, ends_at)
WHERE id = $1
RETURNING expires_at;

-- name: find_session_of_token :value
SELECT session_id FROM access_tokens WHERE id = $1;

-- name: list_sessions :many
SELECT s.id, s.user_agent, s.created_at, s.refreshed_at, s.expires_at
FROM sessions AS s
WHERE
    s.user_id = $1
    AND s.tenant_id = $2
    AND s.ended_at IS NULL
    AND s.expires_at > now()
    AND ($3::uuid IS NULL OR s.id > $3)
ORDER BY s.id
LIMIT $4;

-- name: find_session :maybe
SELECT s.id, s.user_agent, s.created_at, s.refreshed_at, s.expires_at
FROM sessions AS s
WHERE s.user_id = $1 AND s.tenant_id = $2 AND s.id = $3 AND s.ended_at IS NULL AND s.expires_at > now();

-- name: end_session :many
UPDATE sessions SET ended_at = now(), end_reason = $4
WHERE tenant_id = $1 AND user_id = $2 AND id = $3 AND ended_at IS NULL AND expires_at > now()
RETURNING id;

-- name: end_other_sessions :many
-- NULL as the one that stays: none stays.
UPDATE sessions SET ended_at = now(), end_reason = $4
WHERE tenant_id = $1 AND user_id = $2 AND id IS DISTINCT FROM $3::uuid AND ended_at IS NULL AND expires_at > now()
RETURNING id;

-- name: end_oldest_sessions :many
UPDATE sessions SET ended_at = now(), end_reason = $4
WHERE tenant_id = $1 AND id IN (
    SELECT s.id FROM sessions AS s
    WHERE s.tenant_id = $1 AND s.user_id = $2 AND s.ended_at IS NULL AND s.expires_at > now()
    ORDER BY s.id DESC
    OFFSET $3
)
RETURNING id;

-- name: find_session_salt :value
-- Sessions have none of their own: they are their user's.
SELECT u.ledger_salt
FROM sessions AS s
INNER JOIN users AS u ON s.tenant_id = u.tenant_id AND s.user_id = u.id
WHERE s.id = $1;

-- name: get_user_salt :value
SELECT ledger_salt FROM users WHERE tenant_id = $1 AND id = $2;

-- name: forget_ended_sessions :value
SELECT forget_ended_sessions($1);

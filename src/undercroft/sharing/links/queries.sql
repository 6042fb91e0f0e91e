-- name: insert_principal :exec
INSERT INTO users (id, tenant_id, role, kind) VALUES ($1, current_tenant(), 'member', 'link');

-- name: insert_link :exec
INSERT INTO share_links (id, tenant_id, grant_id, token_hash, passcode, data_key_id, sealed_email, is_one_time)
VALUES ($1, current_tenant(), $2, $3, $4, $5, $6, $7);

-- name: find_share_link :maybe
SELECT tenant_id, link_id FROM find_share_link($1);

-- name: find_link :maybe
SELECT
    l.id, l.tenant_id, l.grant_id, l.passcode, l.sealed_email, l.code_hash, l.codes_sent, l.is_one_time, l.redemptions,
    l.failures, l.created_at, k.id AS key_id, k.wrapped_key, k.salt, t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id, t.wrapped_key AS wrapped_tenant_key,
    coalesce(l.code_expires_at > statement_timestamp(), false) AS is_code_good,
    g.ended_at IS NULL
    AND g.not_before <= statement_timestamp()
    AND (g.expires_at IS NULL OR g.expires_at > statement_timestamp()) AS is_open
FROM share_links AS l
INNER JOIN grants AS g ON l.grant_id = g.id
LEFT JOIN data_keys AS k ON l.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE l.id = $1;

-- name: take_failure :value
-- Counted before it is known whether it is one, so that guesses at once are guesses in a row. Nothing when there were too many.
UPDATE share_links SET failures = failures + 1 WHERE id = $1 AND failures < 10 RETURNING failures;

-- name: keep_code :value
-- Nothing when enough codes were sent.
UPDATE share_links SET code_hash = $2, code_expires_at = now() + $3::interval, codes_sent = codes_sent + 1
WHERE id = $1 AND codes_sent < 5
RETURNING codes_sent;

-- name: hold_grant :maybe
-- Against a revocation at the same time: it waits, and then ends the token that was made; or this waits, and the next
-- statement sees that the grant has ended. Before the link's own row, as a deletion has them.
SELECT g.id
FROM share_links AS l
INNER JOIN grants AS g ON l.grant_id = g.id
WHERE l.id = $1
FOR SHARE OF g;

-- name: redeem :value
-- Of two who redeem a link for one use at the same instant, or by one code ($2, NULL where it takes none), the second waits
-- for the row, and finds it used. A code is used up, and what failed before is forgotten.
UPDATE share_links
SET redemptions = redemptions + 1, failures = 0, code_hash = NULL, code_expires_at = NULL, codes_sent = 0
WHERE id = $1 AND (NOT is_one_time OR redemptions = 0) AND code_hash IS NOT DISTINCT FROM coalesce($2::bytea, code_hash)
RETURNING redemptions;

-- name: insert_token :value
-- No longer than the grant.
INSERT INTO access_tokens (id, tenant_id, user_id, token_hash, expires_at)
SELECT $1, g.tenant_id, $2, $4, least(g.expires_at, now() + $5::interval)
FROM grants AS g
WHERE g.id = $3
RETURNING expires_at;

-- name: find_live_token :maybe
-- A link that opens for somebody, as it does for `redeem`.
SELECT
    l.id AS credential_id, l.tenant_id, u.id AS user_id, NULL::uuid AS actor_id, u.kind, u.role, NULL::text[] AS scopes,
    l.created_at, g.expires_at, u.ledger_salt
FROM share_links AS l
INNER JOIN grants AS g ON l.grant_id = g.id
INNER JOIN users AS u ON l.tenant_id = u.tenant_id AND l.id = u.id
WHERE l.tenant_id = current_tenant() AND l.token_hash = $1
  AND (NOT l.is_one_time OR l.redemptions = 0) AND l.failures < 10 AND u.suspended_at IS NULL
  AND g.ended_at IS NULL AND g.not_before <= statement_timestamp()
  AND (g.expires_at IS NULL OR g.expires_at > statement_timestamp());

-- name: find_open_grant :value
-- Of a link whose grant has not ended; one that was redeemed for its one time has tokens that end with it.
SELECT g.id
FROM share_links AS l
INNER JOIN grants AS g ON l.grant_id = g.id
WHERE l.tenant_id = current_tenant() AND l.token_hash = $1 AND g.ended_at IS NULL
  AND (g.expires_at IS NULL OR g.expires_at > statement_timestamp());

-- name: list_links :many
-- Those that the caller made.
SELECT
    l.id, l.grant_id, l.is_one_time, l.redemptions, l.created_at, l.passcode IS NOT NULL AS has_passcode,
    l.sealed_email IS NOT NULL AS has_step_up
FROM share_links AS l
INNER JOIN grants AS g ON l.grant_id = g.id
WHERE g.tenant_id = current_tenant() AND g.grantor_id = current_principal() AND ($1::uuid IS NULL OR l.id > $1)
ORDER BY l.id
LIMIT $2;

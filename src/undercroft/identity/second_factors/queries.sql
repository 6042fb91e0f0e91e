-- name: insert_factor :exec
INSERT INTO second_factors (user_id, tenant_id, data_key_id, sealed_secret) VALUES ($2, $1, $3, $4);

-- name: delete_factor :exec
-- With it go its key, its recovery codes and the challenges that it would answer.
DELETE FROM second_factors WHERE tenant_id = $1 AND user_id = $2;

-- name: find_factor :maybe
SELECT
    f.user_id,
    f.sealed_secret,
    f.confirmed_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    f.begun_at > now() - $3::interval AS is_fresh
FROM second_factors AS f
INNER JOIN data_keys AS k ON f.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE f.tenant_id = $1 AND f.user_id = $2;

-- name: find_standing :one
SELECT
    (SELECT f.confirmed_at FROM second_factors AS f WHERE f.tenant_id = $1 AND f.user_id = $2) AS enabled_at,
    (SELECT count(*) FROM recovery_codes AS c WHERE c.tenant_id = $1 AND c.user_id = $2) AS codes_left,
    EXISTS (SELECT FROM second_factor_demands AS d WHERE d.tenant_id = $1) AS is_demanded;

-- name: confirm_factor :exec
UPDATE second_factors SET confirmed_at = now() WHERE tenant_id = $1 AND user_id = $2;

-- name: use_step :exec
-- Two who bring one code at the same instant: the second waits for the row, looks at last_step again, and changes nothing.
UPDATE second_factors SET last_step = $3 WHERE tenant_id = $1 AND user_id = $2 AND last_step < $3;

-- name: insert_recovery_codes :exec
INSERT INTO recovery_codes (tenant_id, user_id, code_hash) SELECT $1, $2, unnest($3::bytea[]);

-- name: delete_recovery_codes :exec
DELETE FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2;

-- name: use_recovery_code :exec
-- Of two who use it at once, the second waits and finds it gone.
DELETE FROM recovery_codes WHERE tenant_id = $1 AND user_id = $2 AND code_hash = $3;

-- name: insert_challenge :value
INSERT INTO sign_in_challenges (challenge_hash, tenant_id, user_id, expires_at)
VALUES ($3, $1, $2, now() + $4::interval)
RETURNING expires_at;

-- name: find_challenge :maybe
SELECT tenant_id, user_id FROM find_sign_in_challenge($1);

-- name: take_challenge :exec
-- Of two who answer it at once, the second waits and finds it gone.
DELETE FROM sign_in_challenges WHERE tenant_id = $1 AND user_id = $2 AND challenge_hash = $3 AND expires_at > now();

-- name: delete_challenges :exec
DELETE FROM sign_in_challenges WHERE tenant_id = $1 AND user_id = $2;

-- name: is_demanded :value
SELECT EXISTS (SELECT FROM second_factor_demands WHERE tenant_id = $1);

-- name: demand :exec
INSERT INTO second_factor_demands (tenant_id) VALUES ($1) ON CONFLICT (tenant_id) DO NOTHING;

-- name: waive :exec
DELETE FROM second_factor_demands WHERE tenant_id = $1;

-- name: find_account :maybe
SELECT
    u.id,
    u.tenant_id,
    t.name AS tenant_name,
    u.email,
    u.kind,
    u.role,
    p.encoded,
    u.ledger_salt,
    u.email_verified_at IS NOT NULL AS is_verified,
    u.suspended_at IS NOT NULL AS is_suspended
FROM users AS u
INNER JOIN tenants AS t ON u.tenant_id = t.id
LEFT JOIN passwords AS p ON u.tenant_id = p.tenant_id AND u.id = p.user_id
WHERE u.tenant_id = $1 AND u.email = $2;

-- name: find_account_by_id :maybe
SELECT
    u.id,
    u.tenant_id,
    t.name AS tenant_name,
    u.email,
    u.kind,
    u.role,
    p.encoded,
    u.ledger_salt,
    u.email_verified_at IS NOT NULL AS is_verified,
    u.suspended_at IS NOT NULL AS is_suspended
FROM users AS u
INNER JOIN tenants AS t ON u.tenant_id = t.id
LEFT JOIN passwords AS p ON u.tenant_id = p.tenant_id AND u.id = p.user_id
WHERE u.tenant_id = $1 AND u.id = $2 AND u.email IS NOT NULL;

-- name: lock_active_user :value
-- Whoever suspends the user, or sets their password, waits; and so does whoever signs them in.
SELECT id FROM users WHERE tenant_id = $1 AND id = $2 AND suspended_at IS NULL FOR NO KEY UPDATE;

-- name: find_password :value
SELECT encoded FROM passwords WHERE tenant_id = $1 AND user_id = $2;

-- name: set_password :exec
INSERT INTO passwords (user_id, tenant_id, encoded) VALUES ($2, $1, $3)
ON CONFLICT (user_id) DO UPDATE SET encoded = excluded.encoded, changed_at = now();

-- name: renew_hash :exec
UPDATE passwords SET encoded = $3 WHERE tenant_id = $1 AND user_id = $2;

-- name: insert_user :maybe
INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, 'member')
ON CONFLICT (tenant_id, email) DO NOTHING
RETURNING id;

-- name: verify_email :exec
UPDATE users SET email_verified_at = now() WHERE tenant_id = $1 AND id = $2 AND email_verified_at IS NULL;

-- name: find_sign_up_admin :value
SELECT admin_id FROM open_sign_ups WHERE tenant_id = $1;

-- name: open_sign_up :exec
INSERT INTO open_sign_ups (tenant_id, admin_id) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING;

-- name: close_sign_up :exec
DELETE FROM open_sign_ups WHERE tenant_id = $1;

-- name: insert_code :exec
INSERT INTO mail_codes (id, tenant_id, user_id, email, purpose, code_hash, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval);

-- name: count_codes :value
SELECT count(*) FROM mail_codes
WHERE
    tenant_id = $1 AND purpose = $2 AND (user_id = $3::uuid OR email = $4::text) AND expires_at > now();

-- name: find_tenant_of_code :value
SELECT find_tenant_of_code($1);

-- name: find_code :maybe
SELECT c.purpose, c.user_id, c.email FROM mail_codes AS c
WHERE c.code_hash = $1 AND c.expires_at > now();

-- name: take_code :exec
-- Of two who use it at once, the second waits and finds it gone.
DELETE FROM mail_codes WHERE code_hash = $1 AND expires_at > now();

-- name: delete_codes :exec
-- Those that set a password.
DELETE FROM mail_codes
WHERE tenant_id = $1 AND user_id = $2 AND purpose IN ('invitation', 'password_reset');

-- name: lock_attempts :many
-- In the order that they are given, so that two who share subjects cannot wait for each other.
INSERT INTO attempts AS a (tenant_id, subject)
SELECT $1, s.subject FROM unnest($2::bytea[]) WITH ORDINALITY AS s (subject, place)
ORDER BY s.place
ON CONFLICT (tenant_id, subject) DO UPDATE SET last_at = a.last_at
RETURNING
    a.subject,
    CASE WHEN a.last_at < clock_timestamp() - interval '1 day' THEN 0 ELSE a.failures END AS failures,
    ceil(greatest(extract(EPOCH FROM a.free_at - clock_timestamp()), 0))::int AS wait,
    coalesce(a.known_until > clock_timestamp(), false) AS is_known;

-- name: count_attempts :exec
UPDATE attempts AS a SET
    failures = n.failures,
    last_at = clock_timestamp(),
    free_at = clock_timestamp() + make_interval(secs => n.pause)
FROM unnest($2::bytea[], $3::int[], $4::int[]) AS n (subject, failures, pause)
WHERE a.tenant_id = $1 AND a.subject = n.subject;

-- name: restart_attempts :exec
UPDATE attempts SET failures = 0, free_at = clock_timestamp() WHERE tenant_id = $1 AND subject = $2;

-- name: forgive_attempts :exec
-- The account's count and the pair's begin anew, and the client's address gets its one attempt back: otherwise whoever has
-- an account could guess at others' without end.
UPDATE attempts AS a SET
    failures = CASE WHEN a.subject = $2 THEN greatest(a.failures - 1, 0) ELSE 0 END,
    free_at = CASE WHEN a.subject = $2 THEN a.free_at ELSE clock_timestamp() END,
    known_until = CASE WHEN a.subject = $3 THEN clock_timestamp() + $5::interval ELSE a.known_until END
WHERE a.tenant_id = $1 AND a.subject IN ($2, $3, $4);

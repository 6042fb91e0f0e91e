-- name: insert_member :maybe
INSERT INTO users (id, tenant_id, kind, email, name, role)
VALUES ($1, current_tenant(), $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt;

-- name: lock_members :many
-- The one who acts and the one who is acted on, in the order of their ids: of two admins who act on each other at the same
-- time the second waits here, and then is no admin any more if the first said so. The order keeps them from each waiting
-- for the other.
SELECT id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt
FROM users
WHERE id = ANY(ARRAY[$1, current_principal()])
ORDER BY id
FOR NO KEY UPDATE;

-- name: lock_members_for_removal :many
-- The same, and nobody refers to them meanwhile.
SELECT id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt
FROM users
WHERE id = ANY(ARRAY[$1, current_principal()])
ORDER BY id
FOR UPDATE;

-- name: is_acting_admin :value
-- FOR SHARE: a demotion waits until what they did as an admin has committed, and what comes after it sees it.
SELECT role = 'admin' AND suspended_at IS NULL FROM users WHERE id = current_principal() FOR SHARE;

-- name: find_member :maybe
SELECT id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt
FROM users
WHERE id = $1 AND kind <> 'link' AND ($2::uuid IS NULL OR id = $2);

-- name: find_member_by_email :maybe
SELECT id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt
FROM users
WHERE email = $1;

-- name: list_members :many
SELECT id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt
FROM users
WHERE tenant_id = current_tenant() AND kind <> 'link'
  AND ($1::uuid IS NULL OR id > $1) AND ($2::uuid IS NULL OR id = $2)
ORDER BY id
LIMIT $3;

-- name: update_member_role :one
UPDATE users SET role = $2, revision = revision + 1
WHERE id = $1
RETURNING id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt;

-- name: suspend_member :one
UPDATE users SET suspended_at = now(), revision = revision + 1
WHERE id = $1
RETURNING id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt;

-- name: reinstate_member :one
UPDATE users SET suspended_at = NULL, revision = revision + 1
WHERE id = $1
RETURNING id, kind, email, name, role, suspended_at, revision, created_at, ledger_salt;

-- name: delete_member :exec
DELETE FROM users WHERE id = $1;

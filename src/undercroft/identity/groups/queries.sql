-- name: insert_group :maybe
INSERT INTO groups (id, tenant_id, name) VALUES ($1, current_tenant(), $2)
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING id, name, revision, created_at, ledger_salt;

-- name: find_group :maybe
-- For a viewer, where one is named: only while they are in it.
SELECT g.id, g.name, g.revision, g.created_at, g.ledger_salt
FROM groups AS g
WHERE g.id = $1
  AND ($2::uuid IS NULL OR EXISTS (SELECT FROM group_members AS m WHERE m.group_id = g.id AND m.user_id = $2));

-- name: lock_group :maybe
-- Of two who change it or its members at once, the second sees what the first has made of it.
SELECT id, name, revision, created_at, ledger_salt FROM groups WHERE id = $1 FOR NO KEY UPDATE;

-- name: lock_group_for_deletion :maybe
-- Nobody becomes a member meanwhile: whoever is told of the deletion are all that were in it.
SELECT id, name, revision, created_at, ledger_salt FROM groups WHERE id = $1 FOR UPDATE;

-- name: list_groups :many
SELECT id, name, revision, created_at, ledger_salt
FROM groups
WHERE tenant_id = current_tenant() AND ($1::uuid IS NULL OR id > $1)
ORDER BY id
LIMIT $2;

-- name: list_groups_of :many
SELECT g.id, g.name, g.revision, g.created_at, g.ledger_salt
FROM group_members AS m
INNER JOIN groups AS g ON m.group_id = g.id
WHERE m.tenant_id = current_tenant() AND m.user_id = $3 AND ($1::uuid IS NULL OR m.group_id > $1)
ORDER BY m.group_id
LIMIT $2;

-- name: rename_group :one
UPDATE groups SET name = $2, revision = revision + 1
WHERE id = $1
RETURNING id, name, revision, created_at, ledger_salt;

-- name: delete_group :exec
DELETE FROM groups WHERE id = $1;

-- name: lock_user :maybe
-- A user who is being removed is not put into a group: this waits, and answers nothing once they are gone.
SELECT id, kind, email, name, ledger_salt, now() AS added_at
FROM users
WHERE id = $1 AND kind <> 'link'
FOR KEY SHARE;

-- name: insert_group_member :one
INSERT INTO group_members (tenant_id, group_id, user_id) VALUES (current_tenant(), $1, $2) RETURNING added_at;

-- name: find_group_member :maybe
SELECT u.id, u.kind, u.email, u.name, m.added_at, u.ledger_salt
FROM group_members AS m
INNER JOIN users AS u ON m.user_id = u.id
WHERE m.group_id = $1 AND m.user_id = $2;

-- name: list_group_members :many
-- For a viewer, where one is named: only themselves.
SELECT u.id, u.kind, u.email, u.name, m.added_at, u.ledger_salt
FROM group_members AS m
INNER JOIN users AS u ON m.user_id = u.id
WHERE m.group_id = $1 AND ($2::uuid IS NULL OR m.user_id > $2) AND ($3::uuid IS NULL OR m.user_id = $3)
ORDER BY m.user_id
LIMIT $4;

-- name: delete_group_member :exec
DELETE FROM group_members WHERE group_id = $1 AND user_id = $2;

-- name: delete_group_members :many
-- Rows that somebody else deletes meanwhile, with their user, are not among them.
WITH deleted AS (
    DELETE FROM group_members WHERE group_id = $1 RETURNING user_id, added_at
)

SELECT u.id, u.kind, u.email, u.name, d.added_at, u.ledger_salt
FROM deleted AS d
INNER JOIN users AS u ON d.user_id = u.id
ORDER BY u.id;

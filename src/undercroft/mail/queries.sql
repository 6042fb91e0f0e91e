-- name: insert_mail :exec
INSERT INTO outgoing_mail (id, tenant_id, data_key_id, sealed_message)
VALUES ($1, current_tenant(), $2, $3);

-- name: find_mail :maybe
-- Nothing once the tenant's key was destroyed: nobody can read it then.
SELECT
    m.id,
    m.tenant_id,
    m.sealed_message,
    m.created_at,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM outgoing_mail AS m
INNER JOIN data_keys AS k ON m.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE m.id = $1 AND t.wrapped_key IS NOT NULL;

-- name: delete_mail :exec
DELETE FROM outgoing_mail WHERE id = $1;

-- name: list_overdue_mail :many
SELECT tenant_id, mail_id FROM list_overdue_mail($1);

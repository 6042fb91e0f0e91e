-- name: list_tenants :many
SELECT tenant_id FROM list_tenants($1, $2) AS tenant_id;

-- name: get_usage :one
SELECT
    coalesce((
        SELECT u.byte_size FROM user_usage AS u
        WHERE u.tenant_id = current_tenant() AND u.owner_id = current_principal()
    ), 0) AS user_bytes,
    coalesce((SELECT t.byte_size FROM tenant_usage AS t WHERE t.tenant_id = current_tenant()), 0) AS tenant_bytes;

-- name: settle_usage :one
SELECT user_bytes, tenant_bytes FROM settle_usage($1);

-- name: claim_key :value
SELECT claim_idempotency_key($1, $2, $3, $4, $5);

-- name: find_key :maybe
SELECT
    i.id,
    i.tenant_id,
    i.sealed_answer,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM idempotency_keys AS i
LEFT JOIN data_keys AS k ON i.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    i.tenant_id = current_tenant() AND i.principal_id = current_principal()
    AND i.route = $1 AND i.key_digest = $2 AND i.expires_at > now();

-- name: keep_answer :exec
UPDATE idempotency_keys SET data_key_id = $2, sealed_answer = $3
WHERE id = $1;

-- name: insert_subjects :exec
INSERT INTO idempotency_subjects (tenant_id, idempotency_key_id, subject_id)
SELECT current_tenant(), $1, s.id FROM unnest($2::uuid[]) AS s (id);

-- name: list_expired_keys :many
SELECT tenant_id, key_id FROM list_expired_idempotency_keys($1);

-- name: delete_keys :exec
DELETE FROM idempotency_keys WHERE id = ANY($1::uuid[]) AND expires_at <= now();

-- name: find_issuers :many
SELECT
    id,
    tenant_id,
    url,
    audience,
    algorithms,
    subject_claim,
    creates_users,
    trusts_addresses,
    acr_values,
    amr_values,
    longest_auth_age,
    created_at
FROM find_issuers($1, $2);

-- name: authenticate_issued :maybe
SELECT credential_id, tenant_id, user_id, actor_id, kind, role, scopes FROM authenticate_issued($1, $2);

-- name: count_issuers :value
SELECT count(*) FROM issuers WHERE tenant_id = current_tenant();

-- name: insert_issuer :maybe
INSERT INTO issuers (
    id,
    tenant_id,
    url,
    audience,
    algorithms,
    subject_claim,
    creates_users,
    trusts_addresses,
    acr_values,
    amr_values,
    longest_auth_age
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (url, audience) DO NOTHING
RETURNING
    id,
    tenant_id,
    url,
    audience,
    algorithms,
    subject_claim,
    creates_users,
    trusts_addresses,
    acr_values,
    amr_values,
    longest_auth_age,
    created_at;

-- name: list_issuers :many
SELECT
    id,
    tenant_id,
    url,
    audience,
    algorithms,
    subject_claim,
    creates_users,
    trusts_addresses,
    acr_values,
    amr_values,
    longest_auth_age,
    created_at
FROM issuers
WHERE tenant_id = current_tenant() AND ($1::uuid IS NULL OR id > $1)
ORDER BY id
LIMIT $2;

-- name: delete_issuer :exec
DELETE FROM issuers WHERE tenant_id = current_tenant() AND id = $1;

-- name: lock_issuer :value
-- Of two first requests of one person, the second finds the user that the first has made. None when it was deleted meanwhile.
SELECT id FROM issuers WHERE tenant_id = current_tenant() AND id = $1 FOR NO KEY UPDATE;

-- name: find_issued_user :value
SELECT user_id FROM issuer_users WHERE tenant_id = current_tenant() AND issuer = $1 AND subject = $2;

-- name: find_user_by_address :value
SELECT id FROM users
WHERE tenant_id = current_tenant() AND email = $1;

-- name: insert_person :value
-- None when somebody else has taken the address meanwhile.
INSERT INTO users (id, tenant_id, email, email_verified_at, role)
VALUES ($1, $2, $3::text, CASE WHEN $3::text IS NOT NULL THEN now() END, 'member')
ON CONFLICT (tenant_id, email) DO NOTHING
RETURNING ledger_salt;

-- name: insert_issued_user :exec
INSERT INTO issuer_users (tenant_id, issuer, subject, user_id) VALUES ($1, $2, $3, $4);

-- name: get_user_salt :one
SELECT ledger_salt FROM users WHERE tenant_id = current_tenant() AND id = $1;

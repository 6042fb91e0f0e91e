-- name: find_resource :maybe
-- $2 is the only kind that is looked for.
SELECT
    d.owner_id,
    k.salt
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
WHERE d.id = $1 AND $2::text = 'document'
UNION ALL
SELECT
    c.owner_id,
    k.salt
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
WHERE c.id = $1 AND $2::text = 'collection'
UNION ALL
SELECT
    r.owner_id,
    k.salt
FROM records AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
WHERE r.id = $1 AND $2::text = 'record'
UNION ALL
SELECT
    a.owner_id,
    k.salt
FROM responses AS a
INNER JOIN data_keys AS k ON a.data_key_id = k.id
WHERE a.id = $1 AND $2::text = 'response';

-- name: insert_grant :exec
INSERT INTO grants (
    id,
    tenant_id,
    document_id,
    collection_id,
    record_id,
    response_id,
    grantor_id,
    parent_id,
    user_id,
    group_id,
    actions,
    fields,
    pages,
    sections,
    purpose,
    not_before,
    expires_at,
    max_uses,
    model_use,
    consent_id
)
VALUES (
    $1, current_tenant(), $2, $3, $4, $5, current_principal(), $6, $7, $8, $9,
    $10, $11::text::int4multirange, $12, $13, coalesce($14::timestamptz, now()), $15, $16, $17, $18
);

-- name: find_grant :maybe
SELECT
    g.id,
    g.tenant_id,
    g.document_id,
    g.collection_id,
    g.record_id,
    g.response_id,
    g.owner_id,
    g.grantor_id,
    g.parent_id,
    g.user_id,
    g.group_id,
    g.actions,
    g.fields,
    g.pages,
    g.sections,
    g.purpose,
    g.not_before,
    g.expires_at,
    g.max_uses,
    g.uses,
    g.model_use,
    g.created_at,
    g.ended_at,
    g.ending,
    g.consent_id
FROM described_grants AS g
WHERE g.id = $1;

-- name: list_of :many
-- The ended ones too. $2: for its owner, who sees everybody's; others see those that they gave or hold.
SELECT
    g.id,
    g.tenant_id,
    g.document_id,
    g.collection_id,
    g.record_id,
    g.response_id,
    g.owner_id,
    g.grantor_id,
    g.parent_id,
    g.user_id,
    g.group_id,
    g.actions,
    g.fields,
    g.pages,
    g.sections,
    g.purpose,
    g.not_before,
    g.expires_at,
    g.max_uses,
    g.uses,
    g.model_use,
    g.created_at,
    g.ended_at,
    g.ending,
    g.consent_id
FROM described_grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND (g.document_id = $1 OR g.collection_id = $1 OR g.record_id = $1 OR g.response_id = $1)
    AND ($2::boolean OR g.grantor_id = current_principal() OR g.grantee_id = ANY(current_grantees()))
    AND ($3::uuid IS NULL OR g.id > $3)
ORDER BY g.id
LIMIT $4;

-- name: list_given :many
-- What the caller has granted, the ended ones too.
SELECT
    g.id,
    g.tenant_id,
    g.document_id,
    g.collection_id,
    g.record_id,
    g.response_id,
    g.owner_id,
    g.grantor_id,
    g.parent_id,
    g.user_id,
    g.group_id,
    g.actions,
    g.fields,
    g.pages,
    g.sections,
    g.purpose,
    g.not_before,
    g.expires_at,
    g.max_uses,
    g.uses,
    g.model_use,
    g.created_at,
    g.ended_at,
    g.ending,
    g.consent_id
FROM described_grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND g.grantor_id = current_principal()
    AND ($1::uuid IS NULL OR g.id > $1)
ORDER BY g.id
LIMIT $2;

-- name: list_for_sharing :many
-- The caller's own grants to share a thing on, the oldest first.
SELECT
    g.id,
    g.tenant_id,
    g.document_id,
    g.collection_id,
    g.record_id,
    g.response_id,
    g.owner_id,
    g.grantor_id,
    g.parent_id,
    g.user_id,
    g.group_id,
    g.actions,
    g.fields,
    g.pages,
    g.sections,
    g.purpose,
    g.not_before,
    g.expires_at,
    g.max_uses,
    g.uses,
    g.model_use,
    g.created_at,
    g.ended_at,
    g.ending,
    g.consent_id
FROM described_grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND g.resource_id = $1
    AND g.grantee_id = ANY(current_grantees())
    AND 'share' = ANY(g.actions)
    AND g.id IN (
        SELECT l.id FROM grants AS l WHERE l.tenant_id = current_tenant() AND l.resource_id = $1 AND is_live(l)
    )
ORDER BY g.id
LIMIT 20;

-- name: choose_consent :maybe
SELECT c.subject_id, c.consent_id, c.purpose, c.valid_until FROM choose_consent($1, $2::text[], $3) AS c;

-- name: list_under_consent :many
SELECT g.id FROM grants AS g
WHERE g.tenant_id = current_tenant() AND g.consent_id = $1 AND g.ended_at IS NULL
ORDER BY g.id;

-- name: list_live :many
SELECT g.id FROM grants AS g
WHERE g.tenant_id = current_tenant() AND g.resource_id = $1 AND g.ended_at IS NULL
ORDER BY g.id;

-- name: hold_grant_chain :value
SELECT hold_grant_chain($1);

-- name: end_grants :many
SELECT e.id FROM end_grants($1::uuid[], $2) AS e (id);

-- name: use_grants :value
SELECT use_grants($1::uuid[]);

-- name: has_given :value
-- Whether the caller gave a grant or one that it derives from.
SELECT EXISTS (
    SELECT FROM grants AS g
    WHERE g.id IN (SELECT c.id FROM list_grant_chain(ARRAY[$1::uuid]) AS c (id)) AND g.grantor_id = current_principal()
);

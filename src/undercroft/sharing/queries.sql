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
WHERE a.id = $1 AND $2::text = 'response'
UNION ALL
SELECT
    v.owner_id,
    k.salt
FROM conversations AS v
INNER JOIN data_keys AS k ON v.data_key_id = k.id
WHERE v.id = $1 AND $2::text = 'conversation';

-- name: has_group :value
SELECT EXISTS (SELECT FROM groups AS g WHERE g.tenant_id = current_tenant() AND g.id = $1);

-- name: has_user :value
SELECT EXISTS (SELECT FROM users AS u WHERE u.tenant_id = current_tenant() AND u.id = $1);

-- name: insert_grant :exec
INSERT INTO grants (
    id,
    tenant_id,
    document_id,
    collection_id,
    record_id,
    response_id,
    conversation_id,
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
    $1, current_tenant(), $2, $3, $4, $5, $6, current_principal(), $7, $8, $9, $10,
    $11, $12::text::int4multirange, $13, $14, coalesce($15::timestamptz, now()), $16, $17, $18, $19
);

-- name: find_grant :maybe
SELECT
    g.id, g.tenant_id, g.document_id, g.collection_id, g.record_id, g.response_id, g.conversation_id, g.owner_id,
    g.grantor_id, g.parent_id, g.user_id, g.group_id, g.actions, g.fields, g.pages, g.sections, g.purpose, g.not_before,
    g.expires_at, g.max_uses, g.uses, g.model_use, g.created_at, g.ended_at, g.ending, g.cut_at, g.consent_id
FROM described_grants AS g
WHERE g.id = $1;

-- name: list_of :many
-- The ended ones too. $2: for its owner, who sees everybody's; others see those that they gave or hold.
SELECT
    g.id, g.tenant_id, g.document_id, g.collection_id, g.record_id, g.response_id, g.conversation_id, g.owner_id,
    g.grantor_id, g.parent_id, g.user_id, g.group_id, g.actions, g.fields, g.pages, g.sections, g.purpose, g.not_before,
    g.expires_at, g.max_uses, g.uses, g.model_use, g.created_at, g.ended_at, g.ending, g.cut_at, g.consent_id
FROM described_grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND (
        g.document_id = $1
        OR g.collection_id = $1
        OR g.record_id = $1
        OR g.response_id = $1
        OR g.conversation_id = $1
    )
    AND ($2::boolean OR g.grantor_id = current_principal() OR g.grantee_id = ANY(current_grantees()))
    AND ($3::uuid IS NULL OR g.id > $3)
ORDER BY g.id
LIMIT $4;

-- name: list_given :many
-- What the caller has granted, the ended ones too.
SELECT
    g.id, g.tenant_id, g.document_id, g.collection_id, g.record_id, g.response_id, g.conversation_id, g.owner_id,
    g.grantor_id, g.parent_id, g.user_id, g.group_id, g.actions, g.fields, g.pages, g.sections, g.purpose, g.not_before,
    g.expires_at, g.max_uses, g.uses, g.model_use, g.created_at, g.ended_at, g.ending, g.cut_at, g.consent_id
FROM described_grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND g.grantor_id = current_principal()
    AND ($1::uuid IS NULL OR g.id > $1)
ORDER BY g.id
LIMIT $2;

-- name: list_for_sharing :many
-- A page of the caller's own grants to share a thing on, the oldest first.
SELECT
    g.id, g.tenant_id, g.document_id, g.collection_id, g.record_id, g.response_id, g.conversation_id, g.owner_id,
    g.grantor_id, g.parent_id, g.user_id, g.group_id, g.actions, g.fields, g.pages, g.sections, g.purpose, g.not_before,
    g.expires_at, g.max_uses, g.uses, g.model_use, g.created_at, g.ended_at, g.ending, g.cut_at, g.consent_id
FROM described_grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND g.resource_id = $1
    AND g.grantee_id = ANY(current_grantees())
    AND 'share' = ANY(g.actions)
    AND ($2::uuid IS NULL OR g.id > $2)
    AND g.id IN (
        SELECT l.id FROM grants AS l WHERE l.tenant_id = current_tenant() AND l.resource_id = $1 AND is_live(l)
    )
ORDER BY g.id
LIMIT 20;

-- name: choose_consent :maybe
SELECT c.subject_id, c.consent_id, c.purpose, c.valid_until FROM choose_consent($1, $2::text[], $3) AS c;

-- name: list_under_consent :many
-- What was used up as well: its last use may still run.
SELECT g.id FROM grants AS g
WHERE g.tenant_id = current_tenant() AND g.consent_id = $1 AND may_run(g)
ORDER BY g.id;

-- name: list_running :many
-- What has not ended, or is being used for the last time.
SELECT g.id FROM grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND (g.document_id = $1 OR g.collection_id = $1 OR g.record_id = $1)
    AND may_run(g)
ORDER BY g.id;

-- name: hold_grant_chain :value
SELECT hold_grant_chain($1);

-- name: end_grants :many
SELECT e.id FROM end_grants($1::uuid[], $2) AS e (id);

-- name: use_grants :value
SELECT use_grants($1::uuid[]);

-- name: hold_grants :value
SELECT hold_grants($1::uuid[]);

-- name: list_lost_releases :many
-- Those of people who have to enrol a second factor first come last.
SELECT
    r.place,
    false AS owes_factor
FROM list_lost_releases($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::boolean[]) AS r (place)
UNION ALL
SELECT
    h.place,
    true
FROM unnest($1::uuid[]) WITH ORDINALITY AS h (id, place)
WHERE h.id IN (SELECT o.id FROM list_owing_factors($1) AS o (id))
ORDER BY owes_factor;

-- name: is_held :value
-- Whether a grant is made out to the caller, whether it counts or not.
SELECT EXISTS (SELECT FROM grants AS g WHERE g.id = $1 AND g.grantee_id = ANY(current_grantees()));

-- name: has_given :value
-- Whether the caller gave a grant or one that it derives from.
SELECT EXISTS (
    SELECT FROM grants AS g
    WHERE g.id IN (SELECT c.id FROM list_grant_chain(ARRAY[$1::uuid]) AS c (id)) AND g.grantor_id = current_principal()
);

-- name: explain_ways :many
-- In which ways the caller may do each of some things with what is not theirs.
SELECT
    a.action,
    CASE WHEN $2::text = 'document' THEN ways_to_document($1, a.action) ELSE ways_to($1, a.action) END AS ways
FROM unnest($3::text[]) WITH ORDINALITY AS a (action, place)
ORDER BY a.place;

-- name: list_purposes :many
-- The purposes for which the caller may have a way to a thing: of grants of it; or of one of a collection that holds it and
-- the one by which it stands there, where one purpose does for both. What never counts is none of them: so many are looked
-- at, and whoever shares a collection chooses its grants' purposes. Whether they hold is looked at afterwards, one by one.
WITH live AS NOT MATERIALIZED (
    SELECT g.id, g.resource_id, g.grantee_id, g.purpose
    FROM grants AS g
    WHERE
        g.tenant_id = current_tenant()
        AND g.ended_at IS NULL
        AND g.not_before <= statement_timestamp()
        AND (g.expires_at IS NULL OR g.expires_at > statement_timestamp())
), counted AS (
    SELECT l.purpose
    FROM live AS l
    WHERE l.resource_id = $1 AND l.grantee_id = ANY(current_grantees())
    UNION
    SELECT coalesce(given.purpose, membership.purpose)
    FROM collection_documents AS m
    INNER JOIN collections AS c ON m.collection_id = c.id
    LEFT JOIN live AS given
        ON c.owner_id <> current_principal() AND c.id = given.resource_id AND given.grantee_id = ANY(current_grantees())
    LEFT JOIN live AS membership ON m.grant_id = membership.id
    WHERE
        m.tenant_id = current_tenant()
        AND m.document_id = $1
        AND (c.owner_id = current_principal() OR given.id IS NOT NULL)
        AND (m.grant_id IS NULL OR membership.id IS NOT NULL)
        AND (given.purpose IS NULL OR membership.purpose IS NULL OR given.purpose = membership.purpose)
)

SELECT c.purpose
FROM counted AS c
WHERE c.purpose IS NOT NULL
ORDER BY c.purpose
LIMIT $2;

-- name: state_purpose :value
SELECT set_config('undercroft.purpose', $1::text, true);

-- name: list_chain :many
-- Some grants, and those that they derive from.
SELECT
    g.id, g.tenant_id, g.document_id, g.collection_id, g.record_id, g.response_id, g.conversation_id, g.owner_id,
    g.grantor_id, g.parent_id, g.user_id, g.group_id, g.actions, g.fields, g.pages, g.sections, g.purpose, g.not_before,
    g.expires_at, g.max_uses, g.uses, g.model_use, g.created_at, g.ended_at, g.ending, g.cut_at, g.consent_id
FROM described_grants AS g
WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT c.id FROM list_grant_chain($1::uuid[]) AS c (id))
ORDER BY g.id;

-- name: list_visible :many
-- What the caller may have a way to, by id: theirs, granted to them, and what is in collections that are either. That a
-- grant counts is looked at afterwards, one by one.
WITH me AS MATERIALIZED (
    SELECT current_grantees() AS grantees
),

granted AS MATERIALIZED (
    SELECT DISTINCT ON (g.resource_id)
        g.resource_id,
        CASE
            WHEN g.document_id IS NOT NULL THEN 'document'
            WHEN g.collection_id IS NOT NULL THEN 'collection'
            WHEN g.record_id IS NOT NULL THEN 'record'
            WHEN g.response_id IS NOT NULL THEN 'response'
            ELSE 'conversation'
        END AS kind
    FROM grants AS g
    WHERE
        g.tenant_id = current_tenant()
        AND g.ended_at IS NULL
        AND g.grantee_id = ANY((SELECT m.grantees FROM me AS m)::uuid[])
        AND g.resource_id > $1
    ORDER BY g.resource_id
    LIMIT $2
),

contained AS MATERIALIZED (
    SELECT DISTINCT m.document_id AS resource_id
    FROM collections AS c
    INNER JOIN collection_documents AS m ON c.id = m.collection_id
    WHERE
        c.tenant_id = current_tenant()
        AND m.document_id > $1
        AND (
            c.owner_id = current_principal()
            OR c.id IN (
                SELECT g.collection_id
                FROM grants AS g
                WHERE
                    g.tenant_id = current_tenant()
                    AND g.ended_at IS NULL
                    AND g.grantee_id = ANY((SELECT m.grantees FROM me AS m)::uuid[])
                    AND g.collection_id IS NOT NULL
            )
        )
    ORDER BY m.document_id
    LIMIT $2
),

owned AS (
    (
        SELECT
            d.id AS resource_id,
            'document' AS kind
        FROM documents AS d
        WHERE d.tenant_id = current_tenant() AND d.owner_id = current_principal() AND d.id > $1
        ORDER BY d.id
        LIMIT $2
    )
    UNION ALL
    (
        SELECT
            c.id,
            'collection'
        FROM collections AS c
        WHERE c.tenant_id = current_tenant() AND c.owner_id = current_principal() AND c.id > $1
        ORDER BY c.id
        LIMIT $2
    )
    UNION ALL
    (
        SELECT
            r.id,
            'record'
        FROM records AS r
        WHERE r.tenant_id = current_tenant() AND r.owner_id = current_principal() AND r.id > $1
        ORDER BY r.id
        LIMIT $2
    )
    UNION ALL
    (
        SELECT
            a.id,
            'response'
        FROM responses AS a
        WHERE a.tenant_id = current_tenant() AND a.owner_id = current_principal() AND a.id > $1
        ORDER BY a.id
        LIMIT $2
    )
    UNION ALL
    (
        SELECT
            v.id,
            'conversation'
        FROM conversations AS v
        WHERE v.tenant_id = current_tenant() AND v.owner_id = current_principal() AND v.id > $1
        ORDER BY v.id
        LIMIT $2
    )
)

SELECT
    v.resource_id,
    v.kind
FROM (
    SELECT g.resource_id, g.kind FROM granted AS g
    UNION
    SELECT c.resource_id, 'document' FROM contained AS c
    UNION
    SELECT o.resource_id, o.kind FROM owned AS o
) AS v
ORDER BY v.resource_id
LIMIT $2;

-- name: list_principals :many
-- Who of the tenant may have a way to a thing, by id: its owner, and whom a grant of it, or of a collection that holds it,
-- is made out to, as themselves, by a group or with everyone.
WITH source AS MATERIALIZED (
    SELECT $1::uuid AS id
    UNION ALL
    SELECT m.collection_id FROM collection_documents AS m WHERE m.tenant_id = current_tenant() AND m.document_id = $1
),

grantee AS MATERIALIZED (
    SELECT DISTINCT g.grantee_id AS id
    FROM source AS s
    INNER JOIN grants AS g ON s.id = g.resource_id
    WHERE g.tenant_id = current_tenant() AND g.ended_at IS NULL
)

SELECT u.id
FROM users AS u
WHERE
    u.tenant_id = current_tenant()
    AND u.id > $3
    AND (
        u.id = $2
        OR u.id IN (SELECT g.id FROM grantee AS g)
        OR u.id IN (
            SELECT m.user_id
            FROM grantee AS g
            INNER JOIN group_members AS m ON m.tenant_id = current_tenant() AND g.id = m.group_id
        )
        OR (u.kind IN ('person', 'service') AND EXISTS (SELECT FROM grantee AS g WHERE g.id = current_tenant()))
        OR u.id IN (
            SELECT c.owner_id
            FROM source AS s
            INNER JOIN collections AS c ON s.id = c.id
        )
    )
ORDER BY u.id
LIMIT $4;

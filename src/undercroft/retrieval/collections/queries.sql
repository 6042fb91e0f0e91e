-- name: insert_collection :exec
INSERT INTO collections (id, tenant_id, owner_id, data_key_id, sealed_name, metadata)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4);

-- name: find_collection :maybe
-- A collection that the caller may know of, with what they may do: NULL for their own, all of it. Counted are the members
-- that they may list, and no others: what a count tells beyond that is not theirs to know.
WITH reached AS MATERIALIZED (
    SELECT
        c.id,
        c.tenant_id,
        c.data_key_id,
        c.sealed_name,
        c.metadata,
        c.created_at,
        c.last_active_at,
        actions_on_collection(c) AS actions
    FROM collections AS c
    WHERE c.id = $1
)

SELECT
    c.id,
    c.tenant_id,
    c.sealed_name,
    c.metadata,
    c.created_at,
    c.last_active_at,
    c.actions,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    n.members,
    n.completed,
    n.failed,
    n.byte_size
FROM reached AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN LATERAL count_members(c.id, c.actions) AS n
WHERE c.actions IS NULL OR cardinality(c.actions) > 0;

-- name: list_collections :many
-- The caller's own and those that they may read, each found from an index in the order of the list and no further than the
-- page.
WITH page AS (
    SELECT found.id
    FROM (
        (
            SELECT c.id
            FROM collections AS c
            WHERE
                c.tenant_id = current_tenant()
                AND c.owner_id = current_principal()
                AND ($1::uuid IS NULL OR (CASE WHEN $2::boolean THEN c.id > $1 ELSE c.id < $1 END))
            ORDER BY CASE WHEN $2 THEN c.id END ASC, CASE WHEN NOT $2 THEN c.id END DESC
            LIMIT $3
        )
        UNION
        SELECT shared.id
        FROM unnest(current_grantees()) AS e (grantee_id)
        CROSS JOIN LATERAL (
            SELECT g.collection_id AS id
            FROM grants AS g
            WHERE
                g.tenant_id = current_tenant()
                AND g.grantee_id = e.grantee_id
                AND g.collection_id IS NOT NULL
                AND 'read' = ANY(g.actions)
                AND is_live(g)
                AND ($1 IS NULL OR (CASE WHEN $2 THEN g.collection_id > $1 ELSE g.collection_id < $1 END))
            GROUP BY g.collection_id
            ORDER BY CASE WHEN $2 THEN g.collection_id END ASC, CASE WHEN NOT $2 THEN g.collection_id END DESC
            LIMIT $3
        ) AS shared
    ) AS found
    ORDER BY CASE WHEN $2 THEN found.id END ASC, CASE WHEN NOT $2 THEN found.id END DESC
    LIMIT $3
), reached AS MATERIALIZED (
    SELECT
        c.id,
        c.tenant_id,
        c.data_key_id,
        c.sealed_name,
        c.metadata,
        c.created_at,
        c.last_active_at,
        actions_on_collection(c) AS actions
    FROM page AS p
    INNER JOIN collections AS c ON p.id = c.id
)

SELECT
    c.id,
    c.tenant_id,
    c.sealed_name,
    c.metadata,
    c.created_at,
    c.last_active_at,
    c.actions,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    n.members,
    n.completed,
    n.failed,
    n.byte_size
FROM reached AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
CROSS JOIN LATERAL count_members(c.id, c.actions) AS n
ORDER BY CASE WHEN $2 THEN c.id END ASC, CASE WHEN NOT $2 THEN c.id END DESC;

-- name: list_readable :many
-- Those of some collections that the caller may read: in which ways, or none for their own.
WITH asked AS (
    SELECT
        id,
        owner_id = current_principal() AS is_own,
        CASE WHEN owner_id <> current_principal() THEN ways_to(id, 'read') END AS ways
    FROM collections
    WHERE id = ANY($1::uuid[])
)

SELECT
    id,
    ways
FROM asked
WHERE is_own OR ways IS NOT NULL;

-- name: update_collection :value
UPDATE collections
SET sealed_name = coalesce($2, sealed_name), metadata = coalesce($3, metadata), last_active_at = now()
WHERE id = $1 AND owner_id = current_principal()
RETURNING id;

-- name: delete_collection :value
DELETE FROM collections WHERE id = $1 AND owner_id = current_principal() RETURNING id;

-- name: lock_collection :value
-- Answers its salt. FOR SHARE: a membership is added while the collection cannot be deleted, and members are still added
-- in parallel.
SELECT k.salt
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
WHERE c.id = $1 AND c.owner_id = current_principal()
FOR SHARE OF c;

-- name: find_collection_salt :value
SELECT k.salt
FROM collections AS c
INNER JOIN data_keys AS k ON c.data_key_id = k.id
WHERE c.id = $1 AND c.owner_id = current_principal();

-- name: find_refused :maybe
-- Whoever's of the tenant they are, another's first, and how many of them there are: to put on record who was refused what.
SELECT r.id, r.is_collection, r.owner_id, r.salt, count(*) OVER () AS found
FROM (
    SELECT c.id, true AS is_collection, c.owner_id, k.salt
    FROM collections AS c
    INNER JOIN data_keys AS k ON c.data_key_id = k.id
    WHERE c.id = ANY($1::uuid[])
    UNION ALL
    SELECT d.id, false, d.owner_id, k.salt
    FROM documents AS d
    INNER JOIN data_keys AS k ON d.data_key_id = k.id
    WHERE d.id = ANY($2::uuid[])
) AS r
ORDER BY r.owner_id = current_principal(), NOT r.is_collection, r.id
LIMIT 1;

-- name: lock_document :maybe
-- Nothing when the principal comes to no such document; of another's, the action that they come by, of these ($2). FOR SHARE
-- against its deletion, its sealing and a new version at the same time. Before insert_member and apart from it: waiting
-- there, that would look for the version before.
SELECT d.owner_id, d.is_sealed, d.current_version, k.salt, a.action
FROM documents AS d
INNER JOIN data_keys AS k ON d.data_key_id = k.id
CROSS JOIN LATERAL access_to_document(d, $2::text[]) AS a
WHERE d.id = $1 AND d.deleted_at IS NULL
FOR SHARE OF d;

-- name: find_grant_to_share :value
-- The grant by which the caller may put another's document into a collection: of the document itself, as with any other it
-- would have to leave with what that is of. The one that shows the most for the longest.
SELECT g.id
FROM grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND g.resource_id = $1
    AND g.grantee_id = ANY(current_grantees())
    AND 'share' = ANY(g.actions)
    AND is_live(g)
ORDER BY num_nonnulls(g.pages, g.sections) ASC, cardinality(g.actions) DESC, g.expires_at DESC NULLS FIRST, g.id ASC
LIMIT 1;

-- name: insert_member :value
-- Answers the blob of the current version of a document that is locked: the caller's own, or another's with the grant that it
-- is there by ($4), which is held.
WITH document AS (
    SELECT d.id, v.blob_id
    FROM documents AS d
    INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
    WHERE
        d.id = $2
        AND d.deleted_at IS NULL
        AND (d.owner_id = current_principal()) = ($4::uuid IS NULL)
), membership AS (
    INSERT INTO collection_documents (tenant_id, collection_id, document_id, attributes, added_by, grant_id)
    SELECT
        current_tenant(),
        $1,
        document.id,
        $3,
        CASE WHEN $4 IS NOT NULL THEN current_principal() END,
        $4
    FROM document
    ON CONFLICT (collection_id, document_id) DO UPDATE SET
        attributes = excluded.attributes, added_by = excluded.added_by, grant_id = excluded.grant_id
    RETURNING document_id
)

SELECT document.blob_id
FROM membership
INNER JOIN document ON membership.document_id = document.id;

-- name: find_member :maybe
WITH reached AS MATERIALIZED (
    SELECT
        c.id,
        actions_on_collection(c) AS actions
    FROM collections AS c
    WHERE c.id = $1
)

SELECT
    m.collection_id,
    m.document_id,
    m.attributes,
    m.added_at,
    m.index_state,
    m.index_error_code,
    m.index_error_message,
    m.byte_size
FROM reached AS c
INNER JOIN collection_members AS m ON c.id = m.collection_id
WHERE
    m.document_id = $2
    AND (c.actions IS NULL OR 'read' = ANY(c.actions))
    AND shows_member(m, c.actions);

-- name: find_member_salts :maybe
-- Of a collection of the caller's, whoever's the document is.
SELECT d.owner_id, d.current_version, dk.salt AS document_salt, ck.salt AS collection_salt
FROM collections AS c
INNER JOIN collection_documents AS m ON c.id = m.collection_id
INNER JOIN documents AS d ON m.document_id = d.id
INNER JOIN data_keys AS ck ON c.data_key_id = ck.id
INNER JOIN data_keys AS dk ON d.data_key_id = dk.id
WHERE
    c.id = $1
    AND m.document_id = $2
    AND c.owner_id = current_principal()
    AND d.deleted_at IS NULL;

-- name: list_members :many
WITH reached AS MATERIALIZED (
    SELECT
        c.id,
        actions_on_collection(c) AS actions
    FROM collections AS c
    WHERE c.id = $1
)

SELECT
    m.collection_id,
    m.document_id,
    m.attributes,
    m.added_at,
    m.index_state,
    m.index_error_code,
    m.index_error_message,
    m.byte_size
FROM reached AS c
INNER JOIN collection_members AS m ON c.id = m.collection_id
WHERE
    (c.actions IS NULL OR 'read' = ANY(c.actions))
    AND shows_member(m, c.actions)
    AND ($2::uuid IS NULL OR (CASE WHEN $3::boolean THEN m.document_id > $2 ELSE m.document_id < $2 END))
    AND ($4::text IS NULL OR m.index_state = ANY(
        CASE $4
            WHEN 'completed' THEN ARRAY['indexed']
            WHEN 'failed' THEN ARRAY['failed']
            WHEN 'in_progress' THEN ARRAY['unindexed', 'pending']
            ELSE ARRAY[]::text[]
        END
    ))
ORDER BY CASE WHEN $3 THEN m.document_id END ASC, CASE WHEN NOT $3 THEN m.document_id END DESC
LIMIT $5;

-- name: update_member :value
UPDATE collection_documents AS m
SET attributes = $3
FROM collections AS c
WHERE m.collection_id = $1 AND m.document_id = $2 AND c.id = m.collection_id AND c.owner_id = current_principal()
RETURNING m.document_id;

-- name: delete_member :value
DELETE FROM collection_documents AS m
USING collections AS c, documents AS d
WHERE
    m.collection_id = $1
    AND m.document_id = $2
    AND c.id = m.collection_id
    AND c.owner_id = current_principal()
    AND d.id = m.document_id
    AND d.deleted_at IS NULL
RETURNING m.document_id;

-- name: list_member_chunks :many
SELECT
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM collections AS c
INNER JOIN collection_members AS m ON c.id = m.collection_id
INNER JOIN data_keys AS k ON m.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
INNER JOIN chunks AS ch ON m.blob_id = ch.blob_id
WHERE
    c.id = $1
    AND m.document_id = $2
    AND c.owner_id = current_principal()
    AND m.owner_id = current_principal()
ORDER BY ch.ordinal;

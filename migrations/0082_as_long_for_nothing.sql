-- A document that is hidden and one that is not there take the same work within a statement, too: grants are looked for by
-- the id that was asked for, and only what was found is held against the document itself.

-- As in migration 16, but that grants are looked for before it is known whether there is such a document.
CREATE OR REPLACE FUNCTION ways_to_document(document uuid, wanted text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH me AS MATERIALIZED (
        SELECT current_grantees() AS grantees
    ), own AS MATERIALIZED (
        SELECT d.id, d.owner_id FROM documents AS d
        WHERE d.id = document AND d.deleted_at IS NULL AND NOT (d.is_sealed AND wanted = 'search')
    ), way AS MATERIALIZED (
        SELECT jsonb_build_array(describe_grant(g)) AS grants, NULL::uuid AS collection_owner
        FROM grants AS g
        WHERE g.tenant_id = current_tenant()
          AND g.resource_id = document
          AND g.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])
          AND wanted = ANY(g.actions)
          AND is_live(g)
        UNION ALL
        SELECT
            CASE WHEN c.owner_id = current_principal() THEN '[]' ELSE jsonb_build_array(describe_grant(cg)) END
            || CASE WHEN m.grant_id IS NULL THEN '[]' ELSE jsonb_build_array(describe_grant(mg)) END,
            c.owner_id
        FROM collection_documents AS m
        JOIN collections AS c ON c.id = m.collection_id
        LEFT JOIN grants AS cg
            ON c.owner_id <> current_principal()
            AND cg.tenant_id = current_tenant()
            AND cg.resource_id = c.id
            AND cg.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])
            AND wanted = ANY(cg.actions)
            AND is_live(cg)
        LEFT JOIN grants AS mg ON mg.id = m.grant_id
        WHERE m.tenant_id = current_tenant()
          AND m.document_id = document
          AND (c.owner_id = current_principal() OR cg.id IS NOT NULL)
          AND (m.grant_id IS NULL OR is_live(mg) AND wanted = ANY(mg.actions))
    )
    SELECT
        CASE WHEN EXISTS (SELECT FROM own) THEN
            jsonb_agg(way.grants) FILTER (
                WHERE way.collection_owner IS NULL
                OR wanted IN ('search', 'read', 'read_parts', 'download', 'comment')
                OR way.collection_owner = (SELECT own.owner_id FROM own)
            )
        END
    FROM way
$$;

-- As the function of a row (migration 24), but that it is asked of an id: it takes as long where there is no such row.
CREATE FUNCTION access_to_document(document uuid, wanted text[]) RETURNS TABLE (id uuid, action text, ways jsonb)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH mine AS MATERIALIZED (
        SELECT d.id FROM documents AS d WHERE d.id = document AND d.owner_id = current_principal()
    )
    SELECT mine.id, NULL, '[[]]'::jsonb FROM mine
    UNION ALL
    (
        SELECT document, w.action, a.ways
        FROM unnest(wanted) WITH ORDINALITY AS w (action, place)
        CROSS JOIN LATERAL (SELECT ways_to_document(document, w.action) AS ways OFFSET 0) AS a
        WHERE NOT EXISTS (SELECT FROM mine) AND a.ways IS NOT NULL
        ORDER BY w.place
        LIMIT 1
    )
$$;
REVOKE ALL ON FUNCTION access_to_document(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access_to_document(uuid, text[]) TO undercroft_app;

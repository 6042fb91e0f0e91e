-- The ways to documents, found out for all of a search's at once. Of each by itself that was a third of what the last
-- statement of a search by grants takes: who the caller is, the settings and the plan were looked for again each time.
--
-- As ways_to_document was in 0016, which is this for one. What it looks for it looks for in indexes, for each document: to
-- read all of a tenant's collections once may look cheaper to the planner, and is not where there are many.
CREATE FUNCTION ways_to_documents(document_ids uuid[], wanted text)
RETURNS TABLE (document_id uuid, ways jsonb)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET enable_seqscan = off
AS $$
    WITH me AS MATERIALIZED (
        SELECT current_grantees() AS grantees
    ), own AS MATERIALIZED (
        SELECT d.id, d.owner_id FROM documents AS d
        WHERE d.id = ANY(document_ids) AND d.deleted_at IS NULL AND NOT (d.is_sealed AND wanted = 'search')
    ), way AS (
        SELECT d.id, jsonb_build_array(describe_grant(g)) AS grants
        FROM own AS d
        JOIN grants AS g ON g.resource_id = d.id
        WHERE g.tenant_id = current_tenant()
          AND g.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])
          AND wanted = ANY(g.actions)
          AND is_live(g)
        UNION ALL
        SELECT
            d.id,
            CASE WHEN c.owner_id = current_principal() THEN '[]' ELSE jsonb_build_array(describe_grant(cg)) END
            || CASE WHEN m.grant_id IS NULL THEN '[]' ELSE jsonb_build_array(describe_grant(mg)) END
        FROM own AS d
        JOIN collection_documents AS m ON m.document_id = d.id
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
          AND (c.owner_id = current_principal() OR cg.id IS NOT NULL)
          AND (m.grant_id IS NULL OR is_live(mg) AND wanted = ANY(mg.actions))
          AND (wanted IN ('search', 'read', 'read_parts', 'download', 'comment') OR d.owner_id = c.owner_id)
    )
    SELECT way.id, jsonb_agg(way.grants) FROM way GROUP BY way.id
$$;

CREATE OR REPLACE FUNCTION ways_to_document(document uuid, wanted text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF03
SELECT w.ways FROM ways_to_documents(ARRAY[document], wanted) AS w;
-- noqa: enable=RF03
END;

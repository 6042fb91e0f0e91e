-- Documents under grants: how a caller comes to one, whose quota a content counts in, and which grants have ended while
-- something that rests on them still runs.

-- By which of these actions the caller comes to a document, the first that a grant lets them; nothing for their own, with
-- which they may do everything. No row when they do not come to it at all. The trash is its owner's alone.
CREATE FUNCTION access_to_document(d documents, wanted text[]) RETURNS TABLE (action text, ways jsonb)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT NULL, '[[]]'::jsonb WHERE d.owner_id = current_principal()
    UNION ALL
    (
        SELECT w.action, a.ways
        FROM unnest(wanted) WITH ORDINALITY AS w (action, place)
        CROSS JOIN LATERAL (SELECT ways_to_document(d.id, w.action) AS ways OFFSET 0) AS a
        WHERE d.owner_id <> current_principal() AND d.deleted_at IS NULL AND a.ways IS NOT NULL
        ORDER BY w.place
        LIMIT 1
    )
$$;

-- Keeps grants as they are until the end of a transaction that changes something under them: whoever revokes one waits, and
-- then nothing that was allowed by it is still to come. False when one of them has ended.
CREATE FUNCTION hold_grants(grant_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM grants AS g
    WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT list_grant_chain(grant_ids)) ORDER BY g.id FOR SHARE;
    RETURN cardinality(grant_ids) = (
        SELECT count(*) FILTER (WHERE is_live(g)) FROM grants AS g
        WHERE g.tenant_id = current_tenant() AND g.id = ANY(grant_ids)
    );
END
$$;

-- Which of these grants do not carry any more what runs under them, for whom: over, out of time, gone with what they were
-- of, of somebody who is suspended, or made out to a group that the holder has left, unless a document is in a collection by
-- it. Having been used up is no reason: that is the last use. Purposes do not change while something runs.
CREATE FUNCTION list_ended_grants(grant_ids uuid[], holder_ids uuid[])
RETURNS TABLE (grant_id uuid, holder_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT u.grant_id, u.holder_id
    FROM unnest(grant_ids, holder_ids) AS u (grant_id, holder_id)
    LEFT JOIN grants AS g ON g.id = u.grant_id
    WHERE g.id IS NULL
       OR g.ending <> 'used_up'
       OR g.cut_at IS NOT NULL
       OR g.expires_at <= statement_timestamp()
       OR EXISTS (SELECT FROM users AS h WHERE h.id = u.holder_id AND h.suspended_at IS NOT NULL)
       OR g.group_id IS NOT NULL
          AND NOT EXISTS (
              SELECT FROM group_members AS m
              WHERE m.tenant_id = g.tenant_id AND m.group_id = g.group_id AND m.user_id = u.holder_id
          )
          AND NOT EXISTS (
              SELECT FROM collection_documents AS c WHERE c.tenant_id = g.tenant_id AND c.grant_id = g.id
          )
$$;
GRANT SELECT (id, tenant_id, group_id, ending, cut_at, expires_at) ON grants TO undercroft_system;
GRANT SELECT ON group_members TO undercroft_system;
GRANT SELECT (tenant_id, grant_id) ON collection_documents TO undercroft_system;
CREATE POLICY watch ON grants FOR SELECT TO undercroft_system USING (true);
CREATE POLICY watch ON group_members FOR SELECT TO undercroft_system USING (true);
CREATE POLICY watch ON collection_documents FOR SELECT TO undercroft_system USING (true);

-- A version counts in the quota of the document's owner, whoever brings it.
DROP FUNCTION settle_usage();
CREATE FUNCTION settle_usage(owner uuid) RETURNS TABLE (user_bytes bigint, tenant_bytes bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    SET CONSTRAINTS count_blob_bytes, count_part_bytes IMMEDIATE;
    RETURN QUERY
    SELECT u.byte_size, t.byte_size
    FROM user_usage AS u JOIN tenant_usage AS t ON t.tenant_id = u.tenant_id
    WHERE u.tenant_id = current_tenant() AND u.owner_id = owner;
END
$$;

REVOKE ALL ON FUNCTION
    access_to_document(documents, text[]), hold_grants(uuid[]), list_ended_grants(uuid[], uuid[]), settle_usage(uuid)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    access_to_document(documents, text[]), hold_grants(uuid[]), list_ended_grants(uuid[], uuid[]), settle_usage(uuid)
TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_ended_grants(uuid[], uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Documents under grants: how a caller comes to one, whose quota a content counts in, and what has lost what it
-- rests on while it still runs.

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

-- Which of these do not carry any more what runs: each a document, by one grant of those that it is read under, for whom and
-- by which service. Without a grant it is in a vector store of the reader's by its owner's will. Answers their places.
--
-- Having been used up is no reason: that is the last use. Purposes do not change while something runs.
CREATE FUNCTION list_lost_releases(holder_ids uuid[], actor_ids uuid[], document_ids uuid[], grant_ids uuid[])
RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT r.place
    FROM unnest(holder_ids, actor_ids, document_ids, grant_ids) WITH ORDINALITY
        AS r (holder_id, actor_id, document_id, grant_id, place)
    LEFT JOIN documents AS d ON d.id = r.document_id
    LEFT JOIN grants AS g ON g.id = r.grant_id
    WHERE d.id IS NULL
       OR d.deleted_at IS NOT NULL
       OR EXISTS (
           SELECT FROM users AS u WHERE u.id IN (r.holder_id, r.actor_id) AND u.suspended_at IS NOT NULL
       )
       OR CASE
           WHEN r.grant_id IS NULL THEN NOT EXISTS (
               SELECT FROM collection_documents AS m
               JOIN collections AS c ON c.id = m.collection_id
               WHERE m.tenant_id = d.tenant_id AND m.document_id = d.id AND m.grant_id IS NULL
                 AND c.owner_id = r.holder_id
           )
           WHEN g.id IS NULL THEN true
           ELSE g.ending <> 'used_up'
               OR g.cut_at IS NOT NULL
               OR g.expires_at <= statement_timestamp()
               -- The grant is of a vector store: the document has to be in it still.
               OR g.collection_id IS NOT NULL AND NOT EXISTS (
                   SELECT FROM collection_documents AS m
                   WHERE m.tenant_id = g.tenant_id AND m.collection_id = g.collection_id AND m.document_id = d.id
               )
               -- It is not the reader's (any more): then the document has to be in a vector store by it.
               OR NOT EXISTS (
                   SELECT FROM users AS u
                   WHERE u.id = r.holder_id AND u.tenant_id = g.tenant_id
                     AND CASE
                         WHEN g.user_id IS NOT NULL THEN g.user_id = u.id
                         WHEN g.group_id IS NULL THEN u.kind IN ('person', 'service')
                         ELSE EXISTS (
                             SELECT FROM group_members AS m
                             WHERE m.tenant_id = g.tenant_id AND m.group_id = g.group_id AND m.user_id = u.id
                         )
                     END
               )
               AND NOT EXISTS (
                   SELECT FROM collection_documents AS m
                   WHERE m.tenant_id = g.tenant_id AND m.grant_id = g.id AND m.document_id = d.id
               )
       END
$$;
GRANT SELECT (id, tenant_id, user_id, group_id, collection_id, ending, cut_at, expires_at) ON grants
TO undercroft_system;
GRANT SELECT ON group_members TO undercroft_system;
GRANT SELECT (tenant_id, collection_id, document_id, grant_id) ON collection_documents TO undercroft_system;
GRANT SELECT (id, owner_id) ON collections TO undercroft_system;
GRANT SELECT (deleted_at) ON documents TO undercroft_system;
CREATE POLICY watch ON grants FOR SELECT TO undercroft_system USING (true);
CREATE POLICY watch ON group_members FOR SELECT TO undercroft_system USING (true);
CREATE POLICY watch ON collection_documents FOR SELECT TO undercroft_system USING (true);
CREATE POLICY watch ON collections FOR SELECT TO undercroft_system USING (true);

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
    access_to_document(documents, text[]), hold_grants(uuid[]), settle_usage(uuid),
    list_lost_releases(uuid[], uuid[], uuid[], uuid[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    access_to_document(documents, text[]), hold_grants(uuid[]), settle_usage(uuid),
    list_lost_releases(uuid[], uuid[], uuid[], uuid[])
TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_lost_releases(uuid[], uuid[], uuid[], uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

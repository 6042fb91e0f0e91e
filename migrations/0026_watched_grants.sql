-- What is running under grants, answers and downloads, is asked for twice a second: by a process for all of its streams.

CREATE POLICY watch ON grants FOR SELECT TO undercroft_system USING (true);
CREATE POLICY watch ON group_members FOR SELECT TO undercroft_system USING (true);
GRANT SELECT ON grants, group_members TO undercroft_system;
GRANT SELECT (id, tenant_id, kind) ON users TO undercroft_system;

-- Of the pairs of a grant and its holder those that do not count any more. Their purpose is not asked for again: a stream
-- states one purpose from its beginning to its end.
CREATE FUNCTION list_lost_grants(grant_ids uuid[], holder_ids uuid[]) RETURNS TABLE (grant_id uuid, holder_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT w.grant_id, w.holder_id
    FROM unnest(grant_ids, holder_ids) AS w (grant_id, holder_id)
    LEFT JOIN grants AS g
        ON g.id = w.grant_id
        AND g.ended_at IS NULL
        AND g.not_before <= clock_timestamp()
        AND (g.expires_at IS NULL OR g.expires_at > clock_timestamp())
        AND CASE
            WHEN g.user_id IS NOT NULL THEN g.user_id = w.holder_id
            WHEN g.group_id IS NOT NULL THEN EXISTS (
                SELECT FROM group_members AS m
                WHERE m.tenant_id = g.tenant_id AND m.group_id = g.group_id AND m.user_id = w.holder_id
            )
            ELSE EXISTS (
                SELECT FROM users AS u
                WHERE u.tenant_id = g.tenant_id AND u.id = w.holder_id AND u.kind IN ('person', 'service')
            )
        END
    WHERE g.id IS NULL
$$;

REVOKE ALL ON FUNCTION list_lost_grants(uuid[], uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_lost_grants(uuid[], uuid[]) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_lost_grants(uuid[], uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

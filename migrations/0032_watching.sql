-- What still runs is cut as well when its reader is suspended, and when its grant is revoked after its last use.

-- When a grant that was used up was ended all the same, for what its last use still did.
ALTER TABLE grants
ADD COLUMN cut_at timestamptz,
ADD CONSTRAINT grants_are_cut_after_their_last_use CHECK (cut_at IS NULL OR ending = 'used_up');
GRANT UPDATE (cut_at) ON grants TO undercroft_app;
GRANT SELECT (cut_at) ON grants TO undercroft_system;

-- Ends grants and whatever derives from them: grants made under them, and documents put into collections by them. Answers
-- what has ended; what was used up ends once more, unless that is the reason again, as its last use may still run.
CREATE OR REPLACE FUNCTION end_grants(grant_ids uuid[], reason text) RETURNS SETOF uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    gone uuid[];
BEGIN
    -- Whoever shares on holds every grant of the chain (hold_grant_chain): they have committed when this has the lock, and
    -- the next statement, with a snapshot of its own, sees what they made; or they wait, and find that it has ended.
    PERFORM FROM grants AS g
    WHERE g.tenant_id = current_tenant() AND g.id = ANY(grant_ids) ORDER BY g.id FOR NO KEY UPDATE;
    -- Those that have ended are locked too: the last use may have been taken while this waited (use_grants).
    gone := ARRAY(
        WITH RECURSIVE derived AS (
            SELECT g.id FROM grants AS g WHERE g.tenant_id = current_tenant() AND g.id = ANY(grant_ids)
            UNION
            SELECT c.id FROM derived AS p JOIN grants AS c ON c.tenant_id = current_tenant() AND c.parent_id = p.id
        )
        SELECT g.id FROM grants AS g
        WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT d.id FROM derived AS d)
        ORDER BY g.id FOR NO KEY UPDATE
    );
    DELETE FROM collection_documents AS m WHERE m.tenant_id = current_tenant() AND m.grant_id = ANY(gone);
    RETURN QUERY
    UPDATE grants AS g SET
        ended_at = coalesce(g.ended_at, clock_timestamp()),
        ending = coalesce(g.ending, reason),
        cut_at = CASE WHEN g.ended_at IS NOT NULL THEN clock_timestamp() END
    WHERE g.tenant_id = current_tenant() AND g.id = ANY(gone)
      AND (g.ended_at IS NULL OR g.ending = 'used_up' AND g.cut_at IS NULL AND reason <> 'used_up')
    RETURNING g.id;
END
$$;

-- Which of these grants do not carry any more what runs under them, for whom: over, out of time, gone with what they were
-- of, of somebody who is suspended, or made out to a group that the holder has left, unless a document is in a collection by
-- it. Having been used up is no reason: that is the last use. Purposes do not change while something runs.
CREATE OR REPLACE FUNCTION list_ended_grants(grant_ids uuid[], holder_ids uuid[])
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

-- Refusals are bounded: nobody can fill a log by being refused.
--
-- Each of the first ten refusals of one person, of one action, on what one owner has, gets an entry of its own; the others
-- are counted. When the first is a minute old, one entry says how many more there were, and the count begins anew. So an
-- owner sees that it began and how much of it there was, whatever else the same person was refused meanwhile.

-- How many refusals an entry stands for, beyond those with entries of their own.
ALTER TABLE ledger_pending ADD COLUMN refusals bigint
CHECK (refusals IS NULL OR (refusals > 0 AND outcome = 'denied'));
ALTER TABLE ledger_entries ADD COLUMN refusals bigint;
GRANT INSERT (refusals) ON ledger_pending TO undercroft_app;

CREATE TABLE ledger_refusals (
    tenant_id uuid NOT NULL,
    actor_id uuid NOT NULL,
    action text NOT NULL,
    -- NULL for what is the tenant's.
    owner_id uuid,
    since timestamptz NOT NULL DEFAULT now(),
    refused bigint NOT NULL DEFAULT 1 CHECK (refused > 0),
    UNIQUE NULLS NOT DISTINCT (tenant_id, actor_id, action, owner_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX ledger_refusals_by_time ON ledger_refusals (since);

ALTER TABLE ledger_refusals ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_refusals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON ledger_refusals TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY counting ON ledger_refusals TO undercroft_system USING (true) WITH CHECK (true);
GRANT SELECT ON ledger_refusals TO undercroft_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_refusals TO undercroft_system;

-- In a trigger, so that there is no way around it. The row of the count is locked until the refusal commits: of two at once
-- the second waits, and sees whether the first took the last entry there was.
CREATE FUNCTION bound_refusals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    counted bigint;
BEGIN
    IF new.refusals IS NULL THEN
        INSERT INTO ledger_refusals AS r (tenant_id, actor_id, action, owner_id)
        VALUES (new.tenant_id, new.actor_id, new.action, new.owner_id)
        ON CONFLICT (tenant_id, actor_id, action, owner_id) DO UPDATE SET refused = r.refused + 1
        RETURNING r.refused INTO counted;
        RETURN CASE WHEN counted <= 10 THEN new END;
    END IF;
    -- The entry for a count closes it, or is not made: no refusal is told twice, or of those that never were.
    DELETE FROM ledger_refusals AS r
    WHERE r.tenant_id = new.tenant_id AND r.actor_id = new.actor_id AND r.action = new.action
      AND r.owner_id IS NOT DISTINCT FROM new.owner_id AND r.refused - 10 = new.refusals
      AND r.since <= now() - interval '1 minute';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'so many refusals were not counted' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER bound_refusals BEFORE INSERT ON ledger_pending
FOR EACH ROW WHEN (new.outcome = 'denied') EXECUTE FUNCTION bound_refusals();

-- Counts that are over, of all tenants. Those that every refusal has an entry of are forgotten: against one more at the
-- same time, which this waits for, it looks at the count again.
CREATE FUNCTION list_refusals(row_limit int)
RETURNS TABLE (tenant_id uuid, actor_id uuid, action text, owner_id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM ledger_refusals AS r WHERE r.since <= now() - interval '1 minute' AND r.refused <= 10;
    RETURN QUERY
    SELECT r.tenant_id, r.actor_id, r.action, r.owner_id FROM ledger_refusals AS r
    WHERE r.since <= now() - interval '1 minute' AND r.refused > 10
    ORDER BY r.since LIMIT row_limit;
END
$$;

-- How many refusals of a count that is over have no entry of their own; no row where another process was quicker. Locked:
-- the entry says a number that nobody changes before it commits.
CREATE FUNCTION lock_refusals(actor uuid, refused_action text, owner uuid) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT r.refused - 10 FROM ledger_refusals AS r
    WHERE r.tenant_id = current_tenant() AND r.actor_id = actor AND r.action = refused_action
      AND r.owner_id IS NOT DISTINCT FROM owner AND r.since <= now() - interval '1 minute' AND r.refused > 10
    FOR UPDATE
$$;

-- Sequencing ----------------------------------------------------------------------------------------------------------

-- Both as before, with the new column, and from a transaction id on. While somebody holds an old snapshot, as a backup does,
-- the rows that were moved cannot be removed, and each look from the beginning would wade through all of them again: the
-- cost of numbering would go with the square of what was numbered meanwhile. A sequencer knows below which transaction id
-- nothing is pending any more. The index tells by itself that a row is below; no dead row is visited.
--
-- settled_below is what it knows from then on. Below the oldest transaction id that was running, whatever was committed is
-- visible, and nothing more can come; of that, what has been taken in the order of transaction ids is gone.
DROP FUNCTION number_pending_entries(int);
CREATE FUNCTION number_pending_entries(row_limit int, from_xid xid8)
RETURNS TABLE (entry_position bigint, entry_leaf bytea, settled_below xid8)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH taken AS (
        DELETE FROM ledger_pending
        WHERE ctid = ANY(ARRAY(
            SELECT p.ctid FROM ledger_pending AS p
            WHERE p.tenant_id = current_tenant() AND p.xid >= from_xid
            ORDER BY p.xid, p.ordinal
            LIMIT row_limit
        ))
        RETURNING
            xid, ordinal, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome,
            grant_id, purpose, trace, refusals, leaf
    ), moved AS (
        INSERT INTO ledger_entries (
            tenant_id, position, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome,
            grant_id, purpose, trace, refusals, leaf
        )
        SELECT
            l.tenant_id, l.size + row_number() OVER (ORDER BY t.xid, t.ordinal) - 1, t.id, t.occurred_at, t.actor_id,
            t.owner_id, t.on_behalf_of, t.action, t.resource, t.version, t.outcome, t.grant_id, t.purpose, t.trace,
            t.refusals, t.leaf
        FROM taken AS t CROSS JOIN ledger_logs AS l
        WHERE l.tenant_id = current_tenant()
        RETURNING position, leaf
    )
    SELECT
        m.position, m.leaf,
        least((SELECT max(t.xid) FROM taken AS t), pg_snapshot_xmin(pg_current_snapshot()))
    FROM moved AS m
$$;

-- With it the oldest transaction id that is running, in every row; one row without a tenant where nothing is pending.
DROP FUNCTION list_pending_ledgers(uuid, int);
CREATE FUNCTION list_pending_ledgers(after uuid, from_xid xid8, row_limit int)
RETURNS TABLE (tenant_id uuid, running_from xid8)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE pending (tenant_id) AS (
        (
            SELECT p.tenant_id FROM ledger_pending AS p
            WHERE p.tenant_id > after AND p.xid >= from_xid ORDER BY p.tenant_id LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT p.tenant_id FROM ledger_pending AS p
            WHERE p.tenant_id > pending.tenant_id AND p.xid >= from_xid ORDER BY p.tenant_id LIMIT 1
        )
        FROM pending
        WHERE pending.tenant_id IS NOT NULL
    ), listed AS (
        SELECT pending.tenant_id FROM pending WHERE pending.tenant_id IS NOT NULL LIMIT row_limit
    )
    SELECT listed.tenant_id, pg_snapshot_xmin(pg_current_snapshot())
    FROM (VALUES (1)) AS always (one) LEFT JOIN listed ON true
$$;

-- For readiness and metrics: how far numbering is behind, over all tenants but those.
DROP FUNCTION find_oldest_pending_entry(uuid[]);
CREATE FUNCTION measure_pending_entries(ignored uuid[]) RETURNS TABLE (entries bigint, oldest timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT count(*), min(occurred_at) FROM ledger_pending WHERE tenant_id <> ALL(ignored) $$;

REVOKE ALL ON FUNCTION
    bound_refusals(), list_refusals(int), lock_refusals(uuid, text, uuid), number_pending_entries(int, xid8),
    list_pending_ledgers(uuid, xid8, int), measure_pending_entries(uuid[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    list_refusals(int), lock_refusals(uuid, text, uuid), number_pending_entries(int, xid8),
    list_pending_ledgers(uuid, xid8, int), measure_pending_entries(uuid[])
TO undercroft_app;

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION bound_refusals() OWNER TO undercroft_system;
ALTER FUNCTION list_refusals(int) OWNER TO undercroft_system;
ALTER FUNCTION lock_refusals(uuid, text, uuid) OWNER TO undercroft_system;
ALTER FUNCTION number_pending_entries(int, xid8) OWNER TO undercroft_system;
ALTER FUNCTION list_pending_ledgers(uuid, xid8, int) OWNER TO undercroft_system;
ALTER FUNCTION measure_pending_entries(uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- What two do at once: one order of locks for everybody, and queues that stay short and fair.

-- One order of locks ----------------------------------------------------------------------------------------------------
--
-- A thing, then what is asked about it, then the consents to it, then the grants of it, a grant before those that derive from
-- it (the order of ids), then what stands in a collection by a grant, and the links to it.

-- Those grants, and whatever derives from them.
CREATE FUNCTION list_derived_grants(grant_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE derived AS (
        SELECT g.id FROM grants AS g WHERE g.tenant_id = current_tenant() AND g.id = ANY(grant_ids)
        UNION
        SELECT c.id FROM derived AS p JOIN grants AS c ON c.tenant_id = current_tenant() AND c.parent_id = p.id
    )
    SELECT id FROM derived
$$;

-- As before; but what is there already is locked at once and in the order of ids. With the given ones first and what derives
-- from them afterwards, whoever uses one of the latter and one of the former (use_grants) could hold the one and wait for the
-- other.
CREATE OR REPLACE FUNCTION end_grants(grant_ids uuid[], reason text) RETURNS SETOF uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    gone uuid[];
BEGIN
    PERFORM FROM grants AS g
    WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT list_derived_grants(grant_ids))
    ORDER BY g.id FOR NO KEY UPDATE;
    -- Whoever shares on holds every grant of the chain (hold_grant_chain): they have committed when this has the lock, and
    -- the next statement, with a snapshot of its own, sees what they made; or they wait, and find that it has ended. Those
    -- that have ended are locked too: the last use may have been taken while this waited (use_grants).
    gone := ARRAY(
        SELECT g.id FROM grants AS g
        WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT list_derived_grants(grant_ids))
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

-- The foreign keys of what is deleted would lock what refers to it in the order in which they were made: memberships before
-- the grants that they stand by, and grants before the consents that they rest on. Whoever revokes or withdraws goes the
-- other way. The row itself is locked before this.
CREATE FUNCTION lock_before_delete() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM consents AS c
    WHERE c.tenant_id = old.tenant_id AND c.resource_id = old.id ORDER BY c.id FOR NO KEY UPDATE;
    PERFORM FROM grants AS g
    WHERE g.tenant_id = old.tenant_id
      AND g.id IN (
          SELECT list_derived_grants(
              ARRAY(
                  SELECT r.id FROM grants AS r
                  WHERE r.tenant_id = old.tenant_id
                    AND (r.document_id = old.id OR r.collection_id = old.id OR r.record_id = old.id)
              )
          )
      )
    ORDER BY g.id FOR UPDATE;
    RETURN old;
END
$$;
CREATE TRIGGER lock_before_delete BEFORE DELETE ON documents FOR EACH ROW EXECUTE FUNCTION lock_before_delete();
CREATE TRIGGER lock_before_delete BEFORE DELETE ON collections FOR EACH ROW EXECUTE FUNCTION lock_before_delete();
CREATE TRIGGER lock_before_delete BEFORE DELETE ON records FOR EACH ROW EXECUTE FUNCTION lock_before_delete();

-- Keeps a thing from being deleted until the transaction ends, whatever kind of thing it is.
CREATE FUNCTION hold_thing(resource uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM documents AS d WHERE d.tenant_id = current_tenant() AND d.id = resource FOR KEY SHARE;
    PERFORM FROM collections AS c WHERE c.tenant_id = current_tenant() AND c.id = resource FOR KEY SHARE;
    PERFORM FROM records AS r WHERE r.tenant_id = current_tenant() AND r.id = resource FOR KEY SHARE;
    PERFORM FROM responses AS a WHERE a.tenant_id = current_tenant() AND a.id = resource FOR KEY SHARE;
END
$$;

REVOKE ALL ON FUNCTION list_derived_grants(uuid[]), lock_before_delete(), hold_thing(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_derived_grants(uuid[]), hold_thing(uuid) TO undercroft_app;

-- Queues that stay short and fair -----------------------------------------------------------------------------------------

-- As before; and where no worker runs, what has waited for thirty days is forgotten, which is how long a message is kept. Each
-- event takes ten with it, so that what has piled up goes sooner than it came. SKIP LOCKED: a worker may be telling them.
CREATE OR REPLACE FUNCTION note_event(tenant uuid, type_name text, facts jsonb) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH outdated AS MATERIALIZED (
        SELECT p.id FROM pending_events AS p
        WHERE p.id IN (SELECT o.id FROM pending_events AS o WHERE o.tenant_id = tenant ORDER BY o.id LIMIT 10)
          AND p.happened_at < now() - interval '30 days'
        FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM pending_events AS p USING outdated AS o WHERE p.id = o.id
    )
    INSERT INTO pending_events (tenant_id, event_type, facts)
    SELECT tenant, type_name, jsonb_strip_nulls(facts)
    WHERE EXISTS (
        SELECT FROM webhook_endpoints AS e
        WHERE e.tenant_id = tenant AND e.state = 'enabled' AND type_name = ANY(e.event_types)
    )
$$;
GRANT DELETE, UPDATE (happened_at) ON pending_events TO undercroft_system;

-- As before; but one letter tells of all that there is, so that where no worker runs ten that are owed are enough.
CREATE OR REPLACE FUNCTION owe_letter(tenant uuid, recipient uuid, cause uuid, letter_kind text) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
    INSERT INTO letters (tenant_id, recipient_id, cause_id, kind)
    SELECT tenant, recipient, cause, letter_kind
    WHERE 10 > (
        SELECT count(*) FROM (
            SELECT FROM letters AS l
            WHERE l.tenant_id = tenant AND l.recipient_id = recipient AND l.kind = letter_kind AND l.sent_at IS NULL
            LIMIT 10
        ) AS owed
    )
$$;

-- As before; but whoever has waited longest, one event of each tenant: a tenant with a thousand does not keep the others.
CREATE OR REPLACE FUNCTION list_tenants_with_events(row_limit int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE oldest AS (
        (SELECT p.tenant_id, p.id FROM pending_events AS p ORDER BY p.tenant_id, p.id LIMIT 1)
        UNION ALL
        SELECT n.tenant_id, n.id
        FROM oldest AS o
        CROSS JOIN LATERAL (
            SELECT p.tenant_id, p.id FROM pending_events AS p
            WHERE p.tenant_id > o.tenant_id ORDER BY p.tenant_id, p.id LIMIT 1
        ) AS n
    )
    SELECT o.tenant_id FROM oldest AS o ORDER BY o.id LIMIT row_limit
$$;

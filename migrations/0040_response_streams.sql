-- The streams of responses: every event on disk before anybody sees it, each stream written by whoever holds its lease.

-- One row for each response whose events are on record; it goes with them, a day after the response has ended.
CREATE TABLE response_streams (
    response_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    is_background boolean NOT NULL,
    -- Grows with every change of hands: whoever comes with an older one writes nothing.
    fence bigint NOT NULL DEFAULT 1 CHECK (fence >= 1),
    holder_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Of the last event on record; -1 before the first.
    last_number int NOT NULL DEFAULT -1 CHECK (last_number >= -1),
    -- What was asked and on whose behalf, under the response's key, for whoever takes over; NULL once it has ended.
    sealed_request bytea,
    -- Until when a process beside the holder's has somebody watch it.
    watched_until timestamptz,
    cancel_requested_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    UNIQUE (tenant_id, response_id),
    CHECK ((sealed_request IS NULL) = (ended_at IS NOT NULL)),
    FOREIGN KEY (tenant_id, response_id) REFERENCES responses (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);
-- What moves with every batch and every renewal is in no index, so that those updates stay in their page.
CREATE INDEX response_streams_open ON response_streams (created_at) WHERE ended_at IS NULL;
CREATE INDEX response_streams_ended ON response_streams (ended_at) WHERE ended_at IS NOT NULL;

-- Runs of events. Each follows the one that ends where it begins, and nothing else does: no number is missing or twice.
CREATE TABLE response_events (
    tenant_id uuid NOT NULL,
    response_id uuid NOT NULL,
    -- The last number of the run before; NULL for the first run.
    previous_number int CHECK (previous_number >= 0),
    last_number int NOT NULL,
    sealed_events bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, response_id, last_number),
    UNIQUE NULLS NOT DISTINCT (tenant_id, response_id, previous_number),
    CHECK (last_number > coalesce(previous_number, -1)),
    FOREIGN KEY (tenant_id, response_id) REFERENCES response_streams (tenant_id, response_id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, response_id, previous_number)
    REFERENCES response_events (tenant_id, response_id, last_number)
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['response_streams', 'response_events'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON response_streams TO undercroft_app;
GRANT SELECT, INSERT ON response_events TO undercroft_app;
GRANT SELECT, UPDATE, DELETE ON response_streams TO undercroft_system;
CREATE POLICY write_streams ON response_streams TO undercroft_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON response_events TO undercroft_system;
CREATE POLICY write_streams ON response_events TO undercroft_system USING (true) WITH CHECK (true);

-- Crossing tenants: one process writes the streams of all of them -----------------------------------------------------

-- Keeps one run for each stream, of those whose fence and place are as their writer thinks; answers whose they are. Who
-- holds an older fence is refused, and nobody else's run with it. The rows are locked in the order of their ids, as
-- erase_response does: two batches, or a batch and an erasure, never wait for each other. A takeover waits at the lock
-- for this commit, or commits first and this run is refused, since the row is judged anew once its lock is had.
CREATE FUNCTION append_events(
    response_ids uuid[], fences bigint[], previous_numbers int[], last_numbers int[], sealed bytea[], notice text
) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT s.tenant_id, s.response_id, g.previous_number, g.last_number, g.sealed_events
        FROM response_streams AS s
        JOIN unnest(response_ids, fences, previous_numbers, last_numbers, sealed)
            AS g (response_id, fence, previous_number, last_number, sealed_events) ON g.response_id = s.response_id
        WHERE s.fence = g.fence AND s.last_number = g.previous_number AND s.ended_at IS NULL
        ORDER BY s.response_id
        FOR UPDATE OF s
    ), moved AS (
        UPDATE response_streams AS s SET last_number = h.last_number FROM held AS h WHERE s.response_id = h.response_id
    )
    INSERT INTO response_events (tenant_id, response_id, previous_number, last_number, sealed_events)
    SELECT h.tenant_id, h.response_id, nullif(h.previous_number, -1), h.last_number, h.sealed_events FROM held AS h
    RETURNING response_events.response_id;
    IF FOUND THEN
        PERFORM pg_notify('response_streams', notice);
    END IF;
END
$$;

-- Prolongs the leases that the caller still holds; answers which those are, and which somebody wants ended.
CREATE FUNCTION renew_stream_leases(response_ids uuid[], fences bigint[], lease interval)
RETURNS TABLE (response_id uuid, is_cancelled boolean)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH held AS MATERIALIZED (
        SELECT s.response_id
        FROM response_streams AS s
        JOIN unnest(response_ids, fences) AS g (response_id, fence) ON g.response_id = s.response_id
        WHERE s.fence = g.fence AND s.ended_at IS NULL
        ORDER BY s.response_id
        FOR UPDATE OF s
    )
    UPDATE response_streams AS s SET expires_at = now() + lease
    FROM held AS h WHERE s.response_id = h.response_id
    RETURNING s.response_id, s.cancel_requested_at IS NOT NULL
$$;

-- Takes streams whose holder has not prolonged its lease in time, by this clock. A row that another taker has locked is
-- that one's; a renewal that is under way locks as well, and wins.
CREATE FUNCTION take_over_streams(new_holder uuid, lease interval, row_limit int)
RETURNS TABLE (tenant_id uuid, principal_id uuid, response_id uuid, fence bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH lapsed AS MATERIALIZED (
        SELECT s.response_id FROM response_streams AS s
        WHERE s.ended_at IS NULL AND s.expires_at < now()
        ORDER BY s.created_at
        LIMIT row_limit
        FOR UPDATE SKIP LOCKED
    )
    UPDATE response_streams AS s SET fence = s.fence + 1, holder_id = new_holder, expires_at = now() + lease
    FROM lapsed AS l WHERE s.response_id = l.response_id
    RETURNING s.tenant_id, s.principal_id, s.response_id, s.fence
$$;

-- Gives leases up, so that they need not run out first.
CREATE FUNCTION release_stream_leases(response_ids uuid[], fences bigint[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH held AS MATERIALIZED (
        SELECT s.response_id
        FROM response_streams AS s
        JOIN unnest(response_ids, fences) AS g (response_id, fence) ON g.response_id = s.response_id
        WHERE s.fence = g.fence AND s.ended_at IS NULL
        ORDER BY s.response_id
        FOR UPDATE OF s
    )
    UPDATE response_streams AS s SET expires_at = '-infinity' FROM held AS h WHERE s.response_id = h.response_id
$$;

-- Says that somebody watches streams which others write; answers how far each has come.
CREATE FUNCTION attend_streams(response_ids uuid[], presence interval)
RETURNS TABLE (response_id uuid, last_number int)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH watched AS MATERIALIZED (
        SELECT s.response_id FROM response_streams AS s
        WHERE s.response_id = ANY(response_ids)
        ORDER BY s.response_id
        FOR UPDATE OF s
    )
    UPDATE response_streams AS s SET watched_until = now() + presence
    FROM watched AS w WHERE s.response_id = w.response_id
    RETURNING s.response_id, s.last_number
$$;

-- Forgets the events of what ended a day ago; the responses stay.
CREATE FUNCTION forget_streams(row_limit int) RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH forgotten AS (
        DELETE FROM response_streams WHERE response_id IN (
            SELECT s.response_id FROM response_streams AS s
            WHERE s.ended_at < now() - interval '24 hours' ORDER BY s.ended_at LIMIT row_limit FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    )
    SELECT count(*)::int FROM forgotten
$$;

REVOKE ALL ON FUNCTION append_events(uuid[], bigint[], int[], int[], bytea[], text) FROM PUBLIC;
REVOKE ALL ON FUNCTION renew_stream_leases(uuid[], bigint[], interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION take_over_streams(uuid, interval, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION release_stream_leases(uuid[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION attend_streams(uuid[], interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION forget_streams(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_events(uuid[], bigint[], int[], int[], bytea[], text) TO undercroft_app;
GRANT EXECUTE ON FUNCTION renew_stream_leases(uuid[], bigint[], interval) TO undercroft_app;
GRANT EXECUTE ON FUNCTION take_over_streams(uuid, interval, int) TO undercroft_app;
GRANT EXECUTE ON FUNCTION release_stream_leases(uuid[], bigint[]) TO undercroft_app;
GRANT EXECUTE ON FUNCTION attend_streams(uuid[], interval) TO undercroft_app;
GRANT EXECUTE ON FUNCTION forget_streams(int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION append_events(uuid[], bigint[], int[], int[], bytea[], text) OWNER TO undercroft_system;
ALTER FUNCTION renew_stream_leases(uuid[], bigint[], interval) OWNER TO undercroft_system;
ALTER FUNCTION take_over_streams(uuid, interval, int) OWNER TO undercroft_system;
ALTER FUNCTION release_stream_leases(uuid[], bigint[]) OWNER TO undercroft_system;
ALTER FUNCTION attend_streams(uuid[], interval) OWNER TO undercroft_system;
ALTER FUNCTION forget_streams(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Erasing: the events of an answer, and what was asked, go with the answer --------------------------------------------

CREATE OR REPLACE FUNCTION erase_response(response_ids uuid[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    key_ids uuid[];
BEGIN
    -- Locked in the order of their ids: two documents of the same answers may be erased at once.
    key_ids := ARRAY(
        SELECT r.data_key_id FROM responses AS r
        WHERE r.id = ANY(response_ids) AND r.data_key_id IS NOT NULL
        ORDER BY r.id
        FOR UPDATE
    );
    -- The streams after their responses, as an answer that ends does, and in the order in which batches lock them.
    PERFORM FROM response_streams AS s WHERE s.response_id = ANY(response_ids) ORDER BY s.response_id FOR UPDATE;
    DELETE FROM response_streams WHERE response_id = ANY(response_ids);
    UPDATE responses SET data_key_id = NULL, sealed_resource = '' WHERE id = ANY(response_ids);
    DELETE FROM data_keys WHERE id = ANY(key_ids);
END
$$;

-- At the end of the transaction: what else is erased with a document takes long, and whoever writes the streams of all
-- tenants, or prolongs its leases, waits for these locks.
DROP TRIGGER erase_responses ON documents;
CREATE CONSTRAINT TRIGGER erase_responses AFTER DELETE ON documents
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION erase_derived_responses();

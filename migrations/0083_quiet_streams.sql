-- A batch of events asks less of the database: nobody is told of it who does not wait for it, and that its streams are there is
-- not asked once more, for each run.

-- Whether somebody waits in a process beside the one that writes: they have said so (attend_streams, request_cancel) under the
-- lock of the stream's row, and read what was written before that. So a batch either finds that they wait, or they find it. Of
-- what has changed hands all are told: whoever had it before may not have noticed, and has watchers who wait for it there.
CREATE FUNCTION is_awaited_elsewhere(
    watched_until timestamptz, cancel_requested_at timestamptz, fence bigint
) RETURNS boolean
LANGUAGE sql STABLE
RETURN coalesce(watched_until > now(), false) OR cancel_requested_at IS NOT NULL OR fence > 1;

-- As before (0040), but for when it notifies: a notice takes a lock of the whole server at the commit, and wakes every process
-- that listens, also the one that wrote.
CREATE OR REPLACE FUNCTION append_events(
    response_ids uuid[], fences bigint[], previous_numbers int[], last_numbers int[], sealed bytea[], notice text
) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    kept uuid[];
    is_awaited boolean;
BEGIN
    WITH held AS MATERIALIZED (
        SELECT
            s.tenant_id,
            s.response_id,
            g.previous_number,
            g.last_number,
            g.sealed_events,
            is_awaited_elsewhere(s.watched_until, s.cancel_requested_at, s.fence) AS is_awaited
        FROM response_streams AS s
        JOIN unnest(response_ids, fences, previous_numbers, last_numbers, sealed)
            AS g (response_id, fence, previous_number, last_number, sealed_events) ON g.response_id = s.response_id
        WHERE s.fence = g.fence AND s.last_number = g.previous_number AND s.ended_at IS NULL
        ORDER BY s.response_id
        FOR UPDATE OF s
    ), moved AS (
        UPDATE response_streams AS s SET last_number = h.last_number FROM held AS h WHERE s.response_id = h.response_id
    ), added AS (
        INSERT INTO response_events (tenant_id, response_id, previous_number, last_number, sealed_events)
        SELECT h.tenant_id, h.response_id, nullif(h.previous_number, -1), h.last_number, h.sealed_events FROM held AS h
    )
    SELECT array_agg(h.response_id), bool_or(h.is_awaited) INTO kept, is_awaited FROM held AS h;
    IF is_awaited THEN
        PERFORM pg_notify('response_streams', notice);
    END IF;
    RETURN QUERY SELECT unnest(kept);
END
$$;

-- As before (0043), but for when it notifies.
CREATE OR REPLACE FUNCTION end_stream(
    wanted uuid, holder_fence bigint, previous int, last int, sealed bytea, notice text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    is_awaited boolean;
BEGIN
    UPDATE response_streams AS s
    SET last_number = last, ended_at = now(), sealed_request = NULL
    WHERE
        s.tenant_id = current_tenant()
        AND s.response_id = wanted
        AND s.fence = holder_fence
        AND s.last_number = previous
        AND s.ended_at IS NULL
    RETURNING is_awaited_elsewhere(s.watched_until, s.cancel_requested_at, s.fence) INTO is_awaited;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO response_events (tenant_id, response_id, previous_number, last_number, sealed_events)
    VALUES (current_tenant(), wanted, nullif(previous, -1), last, sealed);
    IF is_awaited THEN
        PERFORM pg_notify('response_streams', notice);
    END IF;
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION is_awaited_elsewhere(timestamptz, timestamptz, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_awaited_elsewhere(timestamptz, timestamptz, bigint) TO undercroft_system;

-- A run is written by two functions alone, which hold its stream's row: it is there. What is left of the foreign key is that runs
-- go with their stream.
ALTER TABLE response_events DROP CONSTRAINT response_events_tenant_id_response_id_fkey;

CREATE FUNCTION delete_events_of_stream() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM response_events AS e WHERE e.tenant_id = OLD.tenant_id AND e.response_id = OLD.response_id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_events_of_stream() FROM PUBLIC;
GRANT DELETE ON response_events TO undercroft_system;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION delete_events_of_stream() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;
-- After its row: a batch that holds that is on disk by then, and what it wrote goes with the rest.
CREATE TRIGGER delete_events AFTER DELETE ON response_streams FOR EACH ROW EXECUTE FUNCTION delete_events_of_stream();

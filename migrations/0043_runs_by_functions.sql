-- A run of events follows one that is there: those who keep it ask the stream's own row, locked, how far it is, and only
-- they may write. What asked for it before was a foreign key, which locks the run that it finds: for every run a second
-- write, to a row that nobody may change or take away but with its whole stream.
ALTER TABLE response_events DROP CONSTRAINT response_events_tenant_id_response_id_previous_number_fkey;
REVOKE INSERT ON response_events FROM undercroft_app;

-- Keeps a stream's last run: of the holder's own fence and place alone, which the row is asked for under its lock; answers
-- whether it did. What was asked is needed no more.
CREATE FUNCTION end_stream(
    wanted uuid, holder_fence bigint, previous int, last int, sealed bytea, notice text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE response_streams AS s
    SET last_number = last, ended_at = now(), sealed_request = NULL
    WHERE
        s.tenant_id = current_tenant()
        AND s.response_id = wanted
        AND s.fence = holder_fence
        AND s.last_number = previous
        AND s.ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO response_events (tenant_id, response_id, previous_number, last_number, sealed_events)
    VALUES (current_tenant(), wanted, nullif(previous, -1), last, sealed);
    PERFORM pg_notify('response_streams', notice);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION end_stream(uuid, bigint, int, int, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION end_stream(uuid, bigint, int, int, bytea, text) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION end_stream(uuid, bigint, int, int, bytea, text) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

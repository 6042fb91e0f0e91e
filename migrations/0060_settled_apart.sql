-- What a request took is kept with its end, and counted in the windows of quotas after it, by a transaction that holds
-- nothing else: whoever stops in such a window keeps no stream waiting.
ALTER TABLE metered_requests ADD COLUMN ended_at timestamptz;
UPDATE metered_requests SET ended_at = settled_at WHERE settled_at IS NOT NULL;
-- Between the two what it took is owed to the windows in which tokens are held for it.
ALTER TABLE metered_requests ADD CHECK (settled_at IS NULL OR ended_at IS NOT NULL);
DROP INDEX metered_requests_open;
CREATE INDEX metered_requests_open ON metered_requests (reserved_at) WHERE ended_at IS NULL;
CREATE INDEX metered_requests_owed ON metered_requests (ended_at) WHERE ended_at IS NOT NULL AND settled_at IS NULL;
GRANT UPDATE (ended_at) ON metered_requests TO undercroft_app;

-- Processes of the version before end their requests so, and answers with them, until they are stopped: as before, but for
-- when it ended. Nothing of this version calls it.
CREATE OR REPLACE FUNCTION settle_usage(wanted uuid, input bigint, output bigint, cached bigint, estimated boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    ended metered_requests%ROWTYPE;
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true);
    UPDATE metered_requests AS m
    SET
        ended_at = now(), settled_at = now(),
        input_tokens = input, output_tokens = output, cached_tokens = cached, is_estimated = estimated
    WHERE m.tenant_id = current_tenant() AND m.id = wanted AND m.ended_at IS NULL
    RETURNING m.* INTO ended;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- In the order in which they were taken, which is everybody's.
    FOR place IN 1 .. cardinality(ended.held_subjects) LOOP
        UPDATE quota_windows AS w SET tokens = w.tokens - ended.reserved_tokens + input + output
        WHERE
            w.tenant_id = current_tenant()
            AND w.subject_id = ended.held_subjects[place]
            AND w.period = ended.held_periods[place]
            AND w.started_at = ended.held_since[place];
    END LOOP;
    RETURN true;
END
$$;

-- Counts what a request took in the place of what was held for it, in the same windows, unless those are over. False where
-- that is done, or somebody does it now: of two the second passes by.
--
-- It is one statement, so that whoever calls it cannot stop in the midst of it, and waits for a window a second at most: what
-- is not settled then is owed still.
CREATE FUNCTION settle_request(wanted uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    ended metered_requests%ROWTYPE;
BEGIN
    PERFORM set_config('lock_timeout', '1s', true);
    SELECT m.* INTO ended FROM metered_requests AS m
    WHERE m.id = wanted AND m.ended_at IS NOT NULL AND m.settled_at IS NULL
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE metered_requests SET settled_at = now() WHERE id = wanted;
    -- In the order in which they were taken, which is everybody's.
    FOR place IN 1 .. cardinality(ended.held_subjects) LOOP
        UPDATE quota_windows AS w
        SET tokens = w.tokens - ended.reserved_tokens + ended.input_tokens + ended.output_tokens
        WHERE
            w.tenant_id = ended.tenant_id
            AND w.subject_id = ended.held_subjects[place]
            AND w.period = ended.held_periods[place]
            AND w.started_at = ended.held_since[place];
    END LOOP;
    RETURN true;
END
$$;

-- What is owed to windows, of all tenants: whoever ended it has died since, or could not get into one of them in time.
CREATE FUNCTION list_owed_requests(row_limit int) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT m.tenant_id, m.id FROM metered_requests AS m
    WHERE m.ended_at IS NOT NULL AND m.settled_at IS NULL
    ORDER BY m.ended_at
    LIMIT row_limit
$$;

CREATE OR REPLACE FUNCTION close_lost_usage(row_limit int) RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH closed AS (
        UPDATE metered_requests SET ended_at = now(), settled_at = now(), is_estimated = true
        WHERE id IN (
            SELECT m.id FROM metered_requests AS m
            WHERE
                m.ended_at IS NULL AND m.reserved_at < now() - interval '1 day'
                AND NOT EXISTS (
                    SELECT FROM response_streams AS s WHERE s.response_id = m.id AND s.ended_at IS NULL
                )
            ORDER BY m.reserved_at LIMIT row_limit FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    )
    SELECT count(*)::int FROM closed
$$;

-- Adds requests that are settled to their users' days, as before (0052). Their users are locked before any day is: whoever
-- removes one has that user first as well, and days after, so that neither waits for the other. Whoever was removed by then
-- is nobody, which the next statement sees.
CREATE OR REPLACE FUNCTION add_up_usage(row_limit int) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    taken uuid[];
    added int;
BEGIN
    taken := ARRAY(
        SELECT m.id FROM metered_requests AS m WHERE m.settled_at IS NOT NULL LIMIT row_limit FOR UPDATE SKIP LOCKED
    );
    PERFORM FROM users AS u
    WHERE (u.tenant_id, u.id) IN (SELECT m.tenant_id, m.user_id FROM metered_requests AS m WHERE m.id = ANY(taken))
    ORDER BY u.id
    FOR KEY SHARE OF u;
    WITH ended AS (
        DELETE FROM metered_requests AS m WHERE m.id = ANY(taken) RETURNING m.*
    ), added AS (
        INSERT INTO usage_days AS d (
            tenant_id, day, user_id, model, requests, estimated_requests, input_tokens, output_tokens, cached_tokens
        )
        SELECT
            e.tenant_id, (e.reserved_at AT TIME ZONE 'UTC')::date, u.id, e.model,
            count(*), count(*) FILTER (WHERE e.is_estimated),
            sum(e.input_tokens), sum(e.output_tokens), sum(e.cached_tokens)
        FROM ended AS e LEFT JOIN users AS u ON e.tenant_id = u.tenant_id AND e.user_id = u.id
        GROUP BY 1, 2, 3, 4
        ORDER BY 1, 2, 3, 4
        ON CONFLICT ON CONSTRAINT usage_days_once DO UPDATE SET
            requests = d.requests + excluded.requests,
            estimated_requests = d.estimated_requests + excluded.estimated_requests,
            input_tokens = d.input_tokens + excluded.input_tokens,
            output_tokens = d.output_tokens + excluded.output_tokens,
            cached_tokens = d.cached_tokens + excluded.cached_tokens
    )
    SELECT count(*)::int INTO added FROM ended;
    RETURN added;
END
$$;
-- To lock a user is to have the right to change them: of that nothing but the lock is given.
GRANT UPDATE (id) ON users TO undercroft_system;
CREATE POLICY hold_users ON users FOR UPDATE TO undercroft_system USING (true) WITH CHECK (false);

REVOKE ALL ON FUNCTION settle_request(uuid), list_owed_requests(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_request(uuid), list_owed_requests(int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION settle_request(uuid) OWNER TO undercroft_system;
ALTER FUNCTION list_owed_requests(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Quotas of requests and tokens, what was used of them, and what was used of each model.

ALTER TABLE api_keys ADD UNIQUE (tenant_id, id);

-- How much may be used in a minute, or in a day, of UTC: by the tenant, by one user, by one key, or by each user who has no
-- quota of their own for that period.
CREATE TABLE quotas (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    kind text NOT NULL CHECK (kind IN ('tenant', 'each_user', 'user', 'key')),
    user_id uuid,
    key_id uuid,
    subject_id uuid NOT NULL CHECK (subject_id = coalesce(user_id, key_id, tenant_id)),
    period text NOT NULL CHECK (period IN ('minute', 'day')),
    most_requests bigint CHECK (most_requests >= 0),
    most_tokens bigint CHECK (most_tokens >= 0),
    PRIMARY KEY (tenant_id, subject_id, kind, period),
    CHECK ((kind = 'user') = (user_id IS NOT NULL)),
    CHECK ((kind = 'key') = (key_id IS NOT NULL)),
    CHECK (most_requests IS NOT NULL OR most_tokens IS NOT NULL),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX quotas_by_user ON quotas (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX quotas_by_key ON quotas (tenant_id, key_id) WHERE key_id IS NOT NULL;

-- What was used of a quota since its minute or day began, with what is reserved. One row for each subject and period: the
-- next window takes the place of the one before.
CREATE TABLE quota_windows (
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    period text NOT NULL CHECK (period IN ('minute', 'day')),
    started_at timestamptz NOT NULL,
    requests bigint NOT NULL CHECK (requests >= 0),
    tokens bigint NOT NULL CHECK (tokens >= 0),
    PRIMARY KEY (tenant_id, subject_id, period)
) WITH (fillfactor = 50);
CREATE INDEX quota_windows_by_age ON quota_windows (started_at);

-- Each request that counts, from its beginning until it is added to its user's day: under the id of its response, where it
-- has one. Without foreign keys: each would lock a row that all requests of a tenant or a user share.
CREATE TABLE metered_requests (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    model text NOT NULL,
    -- What is held for it in which windows, by subject, period and beginning, until it is known what it took.
    reserved_tokens bigint NOT NULL CHECK (reserved_tokens >= 0),
    held_subjects uuid[] NOT NULL,
    held_periods text[] NOT NULL,
    held_since timestamptz[] NOT NULL,
    reserved_at timestamptz NOT NULL DEFAULT now(),
    -- NULL until it has ended.
    settled_at timestamptz,
    input_tokens bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cached_tokens bigint NOT NULL DEFAULT 0 CHECK (cached_tokens >= 0),
    is_estimated boolean NOT NULL DEFAULT false
);
CREATE INDEX metered_requests_open ON metered_requests (reserved_at) WHERE settled_at IS NULL;
CREATE INDEX metered_requests_settled ON metered_requests (tenant_id, user_id) WHERE settled_at IS NOT NULL;

-- What was used of each model by each user on each day of UTC; without a user: by those who were removed since.
CREATE TABLE usage_days (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    day date NOT NULL,
    user_id uuid,
    model text NOT NULL,
    requests bigint NOT NULL CHECK (requests >= 0),
    estimated_requests bigint NOT NULL CHECK (estimated_requests >= 0),
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    cached_tokens bigint NOT NULL CHECK (cached_tokens >= 0),
    CONSTRAINT usage_days_once UNIQUE NULLS NOT DISTINCT (tenant_id, day, user_id, model),
    -- Locks the user until a row of theirs is there: a removal comes before, and the row is nobody's, or after, and finds it.
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX usage_days_by_user ON usage_days (tenant_id, user_id, day);
CREATE INDEX usage_days_by_age ON usage_days (day);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['quotas', 'quota_windows', 'metered_requests', 'usage_days'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['quota_windows', 'metered_requests', 'usage_days'] LOOP
        EXECUTE format('CREATE POLICY add_up ON %I TO undercroft_system USING (true) WITH CHECK (true)', table_name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE, UPDATE (most_requests, most_tokens) ON quotas TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (started_at, requests, tokens) ON quota_windows TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (
    settled_at, input_tokens, output_tokens, cached_tokens, is_estimated
) ON metered_requests TO undercroft_app;
GRANT SELECT ON usage_days TO undercroft_app;
GRANT SELECT, UPDATE, DELETE ON quota_windows TO undercroft_system;
GRANT SELECT, UPDATE, DELETE ON metered_requests TO undercroft_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_days TO undercroft_system;

-- Begins a request of the caller: counts it, and holds the most tokens that it may take, in the window of every quota that
-- applies. Answers those windows as they are then; where one holds more than its quota the caller rolls all of it back.
--
-- Of two requests at once the second waits at the first window that both count in until the first one's transaction ends,
-- and then adds to what that has left there: neither is judged by a count that the other is about to change. All take the
-- windows in one order, so that nobody waits for who waits for them; and they take them late in their transactions, since
-- everybody else of the tenant waits meanwhile.
--
-- A transaction that began before a window, and comes to it after another has opened that, counts in it.
CREATE FUNCTION reserve_usage(new_id uuid, subject_ids uuid[], used_model text, wanted_tokens bigint)
RETURNS TABLE (
    kind text,
    period text,
    most_requests bigint,
    most_tokens bigint,
    requests bigint,
    tokens bigint,
    ends_at timestamptz,
    seconds_left float8
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    quota record;
    counted record;
    subjects uuid[] := '{}';
    periods text[] := '{}';
    since timestamptz[] := '{}';
BEGIN
    -- A process that stops in between holds no tenant's window for longer.
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true);
    FOR quota IN
        SELECT DISTINCT ON (a.counted_id, q.period)
            a.counted_id, q.kind, q.period, q.most_requests, q.most_tokens
        FROM quotas AS q
        CROSS JOIN LATERAL (
            SELECT CASE WHEN q.kind = 'each_user' THEN current_principal() ELSE q.subject_id END AS counted_id
        ) AS a
        WHERE q.tenant_id = current_tenant() AND q.subject_id = ANY(subject_ids || current_tenant())
        ORDER BY a.counted_id, q.period, q.kind = 'each_user'
    LOOP
        INSERT INTO quota_windows AS w (tenant_id, subject_id, period, started_at, requests, tokens)
        VALUES (
            current_tenant(), quota.counted_id, quota.period, date_trunc(quota.period, now(), 'UTC'), 1, wanted_tokens
        )
        ON CONFLICT (tenant_id, subject_id, period) DO UPDATE SET
            started_at = greatest(w.started_at, excluded.started_at),
            requests = CASE WHEN w.started_at < excluded.started_at THEN 0 ELSE w.requests END + 1,
            tokens = CASE WHEN w.started_at < excluded.started_at THEN 0 ELSE w.tokens END + wanted_tokens
        RETURNING w.started_at, w.requests, w.tokens INTO counted;
        subjects := subjects || quota.counted_id;
        periods := periods || quota.period;
        since := since || counted.started_at;
        kind := quota.kind;
        period := quota.period;
        most_requests := quota.most_requests;
        most_tokens := quota.most_tokens;
        requests := counted.requests;
        tokens := counted.tokens;
        ends_at := counted.started_at + ('1 ' || quota.period)::interval;
        seconds_left := extract(epoch FROM ends_at - clock_timestamp());
        RETURN NEXT;
    END LOOP;
    INSERT INTO metered_requests (
        id, tenant_id, user_id, model, reserved_tokens, held_subjects, held_periods, held_since
    )
    VALUES (new_id, current_tenant(), current_principal(), used_model, wanted_tokens, subjects, periods, since);
END
$$;

-- Ends a request: what it took is counted in the place of what was held for it, in the same windows, unless those are over.
-- False where it has ended before: of two who end it the second waits for the first one's transaction, and finds that.
CREATE FUNCTION settle_usage(wanted uuid, input bigint, output bigint, cached bigint, estimated boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    ended metered_requests%ROWTYPE;
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '10s', true);
    UPDATE metered_requests AS m
    SET settled_at = now(), input_tokens = input, output_tokens = output, cached_tokens = cached, is_estimated = estimated
    WHERE m.tenant_id = current_tenant() AND m.id = wanted AND m.settled_at IS NULL
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
REVOKE ALL ON FUNCTION reserve_usage(uuid, uuid[], text, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION settle_usage(uuid, bigint, bigint, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reserve_usage(uuid, uuid[], text, bigint) TO undercroft_app;
GRANT EXECUTE ON FUNCTION settle_usage(uuid, bigint, bigint, bigint, boolean) TO undercroft_app;

-- Crossing tenants: adding up -----------------------------------------------------------------------------------------

-- Adds requests that have ended to their users' days, and forgets them one by one: both or neither, so that each is in one
-- place at every moment. Those that another process adds up now are its own. A user who was removed is nobody.
CREATE FUNCTION add_up_usage(row_limit int) RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH ended AS (
        DELETE FROM metered_requests WHERE id IN (
            SELECT m.id FROM metered_requests AS m WHERE m.settled_at IS NOT NULL LIMIT row_limit FOR UPDATE SKIP LOCKED
        ) RETURNING *
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
    SELECT count(*)::int FROM ended
$$;

-- Ends requests that nobody ends any more: their process died a day ago, and nobody has taken them over. Nobody knows
-- what they took: as a use that is nothing, and for their quotas, until the window is over, all that was held.
CREATE FUNCTION close_lost_usage(row_limit int) RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH closed AS (
        UPDATE metered_requests SET settled_at = now(), is_estimated = true
        WHERE id IN (
            SELECT m.id FROM metered_requests AS m
            WHERE
                m.settled_at IS NULL AND m.reserved_at < now() - interval '1 day'
                AND NOT EXISTS (
                    SELECT FROM response_streams AS s WHERE s.response_id = m.id AND s.ended_at IS NULL
                )
            ORDER BY m.reserved_at LIMIT row_limit FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    )
    SELECT count(*)::int FROM closed
$$;

-- Forgets days of more than thirteen months ago, and windows that are long over.
CREATE FUNCTION forget_usage(row_limit int) RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH forgotten AS (
        DELETE FROM usage_days WHERE ctid IN (
            SELECT d.ctid FROM usage_days AS d WHERE d.day < (now() AT TIME ZONE 'UTC')::date - 400
            LIMIT row_limit FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    ), over AS (
        DELETE FROM quota_windows WHERE ctid IN (
            SELECT w.ctid FROM quota_windows AS w WHERE w.started_at < now() - interval '2 days'
            LIMIT row_limit FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    )
    SELECT ((SELECT count(*) FROM forgotten) + (SELECT count(*) FROM over))::int
$$;

-- What a user used becomes nobody's when they are removed: the tenant's sums stay what they were. Their row is locked by
-- now, so that nothing is added to their days any more.
CREATE FUNCTION forget_who_used() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    WITH theirs AS (
        DELETE FROM usage_days AS d WHERE d.tenant_id = old.tenant_id AND d.user_id = old.id RETURNING *
    )
    INSERT INTO usage_days AS d (
        tenant_id, day, user_id, model, requests, estimated_requests, input_tokens, output_tokens, cached_tokens
    )
    SELECT
        t.tenant_id, t.day, NULL, t.model, t.requests, t.estimated_requests, t.input_tokens, t.output_tokens,
        t.cached_tokens
    FROM theirs AS t
    ORDER BY t.day, t.model
    ON CONFLICT ON CONSTRAINT usage_days_once DO UPDATE SET
        requests = d.requests + excluded.requests,
        estimated_requests = d.estimated_requests + excluded.estimated_requests,
        input_tokens = d.input_tokens + excluded.input_tokens,
        output_tokens = d.output_tokens + excluded.output_tokens,
        cached_tokens = d.cached_tokens + excluded.cached_tokens;
    RETURN old;
END
$$;
CREATE TRIGGER forget_who_used BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION forget_who_used();

REVOKE ALL ON FUNCTION add_up_usage(int), close_lost_usage(int), forget_usage(int), forget_who_used() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_up_usage(int), close_lost_usage(int), forget_usage(int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION add_up_usage(int) OWNER TO undercroft_system;
ALTER FUNCTION close_lost_usage(int) OWNER TO undercroft_system;
ALTER FUNCTION forget_usage(int) OWNER TO undercroft_system;
ALTER FUNCTION forget_who_used() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- The choices of one chat completion that is kept are metered one by one, for each ends by itself, and are one request: of them
-- the first counts, and the others count nothing but their tokens.
ALTER TABLE metered_requests ADD COLUMN requests smallint NOT NULL DEFAULT 1 CHECK (requests IN (0, 1));

-- As before, but for how many requests it counts as. Processes of the version before call the other, which counts one.
CREATE FUNCTION reserve_usage(
    new_id uuid, subject_ids uuid[], used_model text, wanted_tokens bigint, counted_requests int
) RETURNS TABLE (
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
            current_tenant(), quota.counted_id, quota.period, date_trunc(quota.period, now(), 'UTC'), counted_requests,
            wanted_tokens
        )
        ON CONFLICT (tenant_id, subject_id, period) DO UPDATE SET
            started_at = greatest(w.started_at, excluded.started_at),
            requests = CASE WHEN w.started_at < excluded.started_at THEN 0 ELSE w.requests END + counted_requests,
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
        id, tenant_id, user_id, model, reserved_tokens, held_subjects, held_periods, held_since, requests
    )
    VALUES (
        new_id, current_tenant(), current_principal(), used_model, wanted_tokens, subjects, periods, since,
        counted_requests
    );
END
$$;
REVOKE ALL ON FUNCTION reserve_usage(uuid, uuid[], text, bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reserve_usage(uuid, uuid[], text, bigint, int) TO undercroft_app;

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
            sum(e.requests), coalesce(sum(e.requests) FILTER (WHERE e.is_estimated), 0),
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

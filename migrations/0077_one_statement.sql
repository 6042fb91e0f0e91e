-- What a request begins and ends with, by one statement each: a transaction of its own, in one way to the database and back.

-- Such a statement brings its scope along. It is set in its transaction, as every other's is, and before what reads it: the
-- statement has this in its FROM and the rest in what it answers, which is computed of rows that are there.
CREATE FUNCTION enter_scope(tenant uuid, principal uuid) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM
        set_config('undercroft.tenant_id', tenant::text, true), set_config('undercroft.principal_id', principal::text, true);
END
$$;

-- An exchanged token is none of a key's own: the keys that it was exchanged by and for are counted with it.
CREATE FUNCTION with_exchanged_keys(subject_ids uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE
RETURN $1 || ARRAY(
    SELECT k.id
    FROM access_tokens AS t
    CROSS JOIN LATERAL unnest(ARRAY[t.actor_key_id, t.subject_key_id]) AS k (id)
    WHERE t.tenant_id = current_tenant() AND t.id = ANY($1) AND k.id IS NOT NULL
);

-- Begins a request as reserve_usage does, whose windows it answers. What does not fit into one is counted in none, as if the
-- caller had rolled all of it back: the windows are locked until then, and nobody has seen it counted.
CREATE FUNCTION reserve_usage_alone(
    tenant uuid, principal uuid, new_id uuid, subject_ids uuid[], used_model text, wanted_tokens bigint
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
    fits boolean := true;
BEGIN
    PERFORM enter_scope(tenant, principal);
    FOR kind, period, most_requests, most_tokens, requests, tokens, ends_at, seconds_left IN
        SELECT r.kind, r.period, r.most_requests, r.most_tokens, r.requests, r.tokens, r.ends_at, r.seconds_left
        FROM reserve_usage(new_id, with_exchanged_keys(subject_ids), used_model, wanted_tokens, 1) AS r
    LOOP
        RETURN NEXT;
        -- NULL where nothing is said of the one or the other.
        fits := fits AND (requests > most_requests) IS NOT TRUE AND (tokens > most_tokens) IS NOT TRUE;
    END LOOP;
    IF NOT fits THEN
        RAISE EXCEPTION SQLSTATE 'UC001';
    END IF;
EXCEPTION WHEN SQLSTATE 'UC001' THEN
    -- What was answered stays, what was written does not.
    NULL;
END
$$;

-- Ends a request: what it took is kept, and counted in its windows by whoever settles it. Those are not touched here: who
-- stops in one must not keep what is locked with a request's end. Of two who end it the second waits for the first one's
-- transaction, and finds that.
CREATE FUNCTION end_usage(wanted uuid, input bigint, output bigint, cached bigint, estimated boolean) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    is_settled boolean;
BEGIN
    UPDATE metered_requests AS m SET
        ended_at = now(),
        settled_at = CASE WHEN cardinality(m.held_subjects) = 0 THEN now() END,
        input_tokens = input,
        output_tokens = output,
        cached_tokens = cached,
        is_estimated = estimated
    WHERE m.tenant_id = current_tenant() AND m.id = wanted AND m.ended_at IS NULL
    RETURNING m.settled_at IS NOT NULL INTO is_settled;
    RETURN CASE WHEN is_settled IS NULL THEN 'before' WHEN is_settled THEN 'settled' ELSE 'owed' END;
END
$$;

-- Ends a response that has not ended: its state, its stream with the last events, and its request; of that it answers what
-- end_usage does. NULL, and nothing is changed, where the stream is another process's to end, or gone.
CREATE FUNCTION end_response(
    wanted uuid,
    final_status text,
    sealed bytea,
    holder_fence bigint,
    previous int,
    last int,
    last_events bytea,
    notice text,
    input bigint,
    output bigint,
    cached bigint,
    estimated boolean
) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- The response before its stream: in this order whoever erases it locks them.
    PERFORM FROM responses AS r WHERE r.id = wanted AND r.owner_id = current_principal() FOR NO KEY UPDATE;
    IF NOT end_stream(wanted, holder_fence, previous, last, last_events, notice) THEN
        RETURN NULL;
    END IF;
    -- One whose source was erased meanwhile keeps nothing of it.
    UPDATE responses AS r
    SET status = final_status, sealed_resource = CASE WHEN r.data_key_id IS NULL THEN ''::bytea ELSE sealed END
    WHERE r.id = wanted AND r.owner_id = current_principal() AND r.status IN ('queued', 'in_progress');
    -- After its lease was looked at: who took it over has not ended it by then.
    RETURN end_usage(wanted, input, output, cached, estimated);
END
$$;

REVOKE ALL ON FUNCTION enter_scope(uuid, uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION with_exchanged_keys(uuid[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION reserve_usage_alone(uuid, uuid, uuid, uuid[], text, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION end_usage(uuid, bigint, bigint, bigint, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION end_response(
    uuid, text, bytea, bigint, int, int, bytea, text, bigint, bigint, bigint, boolean
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_scope(uuid, uuid) TO undercroft_app;
GRANT EXECUTE ON FUNCTION with_exchanged_keys(uuid[]) TO undercroft_app;
GRANT EXECUTE ON FUNCTION reserve_usage_alone(uuid, uuid, uuid, uuid[], text, bigint) TO undercroft_app;
GRANT EXECUTE ON FUNCTION end_usage(uuid, bigint, bigint, bigint, boolean) TO undercroft_app;
GRANT EXECUTE ON FUNCTION end_response(
    uuid, text, bytea, bigint, int, int, bytea, text, bigint, bigint, bigint, boolean
) TO undercroft_app;

-- Indexes of vectors that workers build anew, and what may happen to a model that was retired.

-- How the last rebuild of a model's index went, or goes. Written by the index's owner, who alone may build it: workers that
-- have its login. Of two at one model the one that holds the lease builds; each claim raises the fence, under which progress
-- is told. What keeps two from one index in any case is a lock of the session that builds (kit/index_upkeep.py).
CREATE TABLE index_rebuilds (
    model_id smallint PRIMARY KEY REFERENCES embedding_models (id),
    fence bigint NOT NULL DEFAULT 1,
    leased_until timestamptz NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    phase text NOT NULL DEFAULT '',
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    -- Of the index when it was built: what has come since is measured by.
    index_bytes bigint,
    vectors bigint
);

-- Whether a model is retired, which it stays until the caller's transaction ends: whoever deletes its vectors asks so. One
-- that `undercroft migrate` brings back at the same time waits for that batch, and no other of its vectors is deleted.
CREATE FUNCTION lock_retired_model(model smallint) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(
        (SELECT true FROM embedding_models WHERE id = model AND retired_at IS NOT NULL FOR SHARE), false
    )
$$;

REVOKE ALL ON FUNCTION lock_retired_model(smallint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_retired_model(smallint) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION lock_retired_model(smallint) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Two embedding models side by side: which one a search asks, what is still to be embedded by the other, and its end.

ALTER TABLE embedding_models
ADD COLUMN is_default boolean NOT NULL DEFAULT false,
ADD COLUMN retired_at timestamptz,
ADD CONSTRAINT default_is_not_retired CHECK (NOT (is_default AND retired_at IS NOT NULL));
CREATE UNIQUE INDEX embedding_models_default ON embedding_models (is_default) WHERE is_default;
-- Where there are several the settings tell which one is searched with: adopt_embedding_model.
UPDATE embedding_models SET is_default = true WHERE (SELECT count(*) FROM embedding_models) = 1;
GRANT SELECT, UPDATE ON embedding_models TO undercroft_system;

-- By which model a collection is searched, or (no collection) all else of a tenant; the default where neither is said. Not
-- columns of collections and tenants: a backup holds those, and numbers of models are an installation's own.
CREATE TABLE embedding_choices (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    collection_id uuid,
    model_id smallint NOT NULL REFERENCES embedding_models (id),
    UNIQUE NULLS NOT DISTINCT (tenant_id, collection_id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES collections (tenant_id, id) ON DELETE CASCADE
);

-- How far a model has come with the passages that a tenant had before it. One worker has it at a time: each claim raises the
-- fence, and what a batch embedded and how far it came commit under it. has_gaps: passages may have come without a vector
-- of this model behind where it is.
CREATE TABLE embedding_backfills (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    model_id smallint NOT NULL REFERENCES embedding_models (id),
    is_paused boolean NOT NULL DEFAULT false,
    has_gaps boolean NOT NULL DEFAULT false,
    last_chunk_id bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, model_id)
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['embedding_choices', 'embedding_backfills'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO undercroft_app', table_name);
        EXECUTE format('CREATE POLICY administer ON %I FOR SELECT TO undercroft_system USING (true)', table_name);
        EXECUTE format('GRANT SELECT ON %I TO undercroft_system', table_name);
    END LOOP;
END
$$;

-- As in 0002. The first model is the default; one that comes back is not retired.
CREATE OR REPLACE FUNCTION register_embedding_model(model_name text, model_dimensions int) RETURNS smallint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    model embedding_models;
BEGIN
    INSERT INTO embedding_models (name, dimensions, is_default)
    VALUES (model_name, model_dimensions, NOT EXISTS (SELECT FROM embedding_models))
    ON CONFLICT (name) DO NOTHING;
    SELECT * INTO STRICT model FROM embedding_models WHERE name = model_name;
    IF model.dimensions <> model_dimensions THEN
        RAISE EXCEPTION 'embedding model % has % dimensions, not %', model_name, model.dimensions, model_dimensions;
    END IF;
    UPDATE embedding_models SET retired_at = NULL WHERE id = model.id AND retired_at IS NOT NULL;
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS chunk_embeddings_hnsw_%2$s ON chunk_embeddings'
        ' USING hnsw ((embedding::halfvec(%1$s)) halfvec_ip_ops) WHERE model_id = %2$s',
        model_dimensions, model.id
    );
    RETURN model.id;
END
$$;

-- The model that the settings name is the default where there is none, or where nothing is indexed yet.
CREATE FUNCTION adopt_embedding_model(model_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM embedding_models ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM embedding_models WHERE is_default)
        AND EXISTS (SELECT FROM corpus_statistics WHERE chunk_count > 0)
    THEN
        RETURN;
    END IF;
    UPDATE embedding_models SET is_default = false WHERE is_default AND name <> model_name;
    UPDATE embedding_models SET is_default = true WHERE NOT is_default AND name = model_name;
END
$$;

CREATE FUNCTION set_default_embedding_model(model_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM embedding_models ORDER BY id FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM embedding_models WHERE name = model_name AND retired_at IS NULL) THEN
        RETURN false;
    END IF;
    UPDATE embedding_models SET is_default = false WHERE is_default AND name <> model_name;
    UPDATE embedding_models SET is_default = true WHERE NOT is_default AND name = model_name;
    RETURN true;
END
$$;

-- The number of a model that is not retired, which it cannot become before the caller's transaction ends: whoever writes its
-- vectors or chooses it asks for it so, and retire_embedding_model sees what they wrote.
CREATE FUNCTION lock_embedding_model(model_name text, model_dimensions int) RETURNS smallint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT id FROM embedding_models
    WHERE name = model_name AND dimensions = coalesce(model_dimensions, dimensions) AND retired_at IS NULL
    FOR KEY SHARE
$$;

-- Every model, and whether any tenant has chosen it.
CREATE FUNCTION list_embedding_models()
RETURNS TABLE (
    id smallint, name text, dimensions int, is_default boolean, is_chosen boolean, retired_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT
        m.id,
        m.name,
        m.dimensions,
        m.is_default,
        EXISTS (SELECT FROM embedding_choices AS c WHERE c.model_id = m.id),
        m.retired_at
    FROM embedding_models AS m
    ORDER BY m.id
$$;

-- From then on nothing is embedded by it and nobody can choose it. False where it is in use, or there is none.
CREATE FUNCTION retire_embedding_model(model_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    model embedding_models;
BEGIN
    -- Waits for whoever has it by lock_embedding_model; what they chose is seen by what follows.
    SELECT * INTO model FROM embedding_models WHERE name = model_name FOR UPDATE;
    IF model.id IS NULL OR model.is_default
        OR EXISTS (SELECT FROM embedding_choices AS c WHERE c.model_id = model.id)
    THEN
        RETURN false;
    END IF;
    UPDATE embedding_models SET retired_at = now() WHERE id = model.id AND retired_at IS NULL;
    RETURN true;
END
$$;

-- What any tenant's passages still wait for and no worker has in hand.
CREATE FUNCTION list_open_backfills() RETURNS TABLE (tenant_id uuid, model_name text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT b.tenant_id, m.name
    FROM embedding_backfills AS b
    JOIN embedding_models AS m ON m.id = b.model_id
    WHERE b.finished_at IS NULL AND NOT b.is_paused AND b.leased_until < now() AND m.retired_at IS NULL
    ORDER BY b.started_at, b.tenant_id, b.model_id
$$;

REVOKE ALL ON FUNCTION
    adopt_embedding_model(text), set_default_embedding_model(text), lock_embedding_model(text, int),
    list_embedding_models(), retire_embedding_model(text), list_open_backfills()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    set_default_embedding_model(text), lock_embedding_model(text, int), list_embedding_models(),
    retire_embedding_model(text), list_open_backfills()
TO undercroft_app;
-- `undercroft migrate` runs it as the owner.
GRANT EXECUTE ON FUNCTION adopt_embedding_model(text) TO current_user;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION adopt_embedding_model(text) OWNER TO undercroft_system;
ALTER FUNCTION set_default_embedding_model(text) OWNER TO undercroft_system;
ALTER FUNCTION lock_embedding_model(text, int) OWNER TO undercroft_system;
ALTER FUNCTION list_embedding_models() OWNER TO undercroft_system;
ALTER FUNCTION retire_embedding_model(text) OWNER TO undercroft_system;
ALTER FUNCTION list_open_backfills() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

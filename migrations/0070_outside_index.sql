-- An index of vectors outside of this database, for its HNSW indexes: of the same vectors, which stay here. Whose they are and
-- who may search them is decided here; what is outside only proposes.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- Whether one is wanted. Its id stands in the names of what is kept outside: two databases, one of them perhaps restored from
-- the other, never share it. It is asked once everything was brought there.
CREATE TABLE outside_index (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    is_wanted boolean NOT NULL DEFAULT false,
    is_complete boolean NOT NULL DEFAULT false,
    CHECK (is_wanted OR NOT is_complete)
);
INSERT INTO outside_index DEFAULT VALUES;
GRANT SELECT, UPDATE (is_complete) ON outside_index TO undercroft_app;
GRANT SELECT ON outside_index TO undercroft_system;

-- Passages whose vectors were inserted or deleted since: for a worker to make the outside as it is here. Ids alone, so that a
-- row says nothing of what it tells to forget.
CREATE TABLE pending_vectors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    chunk_ids bigint[] NOT NULL CHECK (cardinality(chunk_ids) BETWEEN 1 AND 500),
    leased_until timestamptz NOT NULL DEFAULT '-infinity'
);
ALTER TABLE pending_vectors ENABLE ROW LEVEL SECURITY;
ALTER TABLE pending_vectors FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON pending_vectors TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY note ON pending_vectors TO undercroft_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON pending_vectors TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (leased_until) ON pending_vectors TO undercroft_system;

-- Noted in the transaction of the change and whatever way it came about, cascades from a deleted content included. Where there
-- is no index outside it is one look at a table of one row for each statement.
CREATE FUNCTION note_added_vectors() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM outside_index AS o WHERE o.is_wanted) THEN
        INSERT INTO pending_vectors (tenant_id, chunk_ids)
        SELECT n.tenant_id, array_agg(n.chunk_id)
        FROM (
            SELECT a.tenant_id, a.chunk_id, (row_number() OVER (PARTITION BY a.tenant_id) - 1) / 500 AS part
            FROM added AS a
        ) AS n
        GROUP BY n.tenant_id, n.part;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION note_removed_vectors() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM outside_index AS o WHERE o.is_wanted) THEN
        INSERT INTO pending_vectors (tenant_id, chunk_ids)
        SELECT n.tenant_id, array_agg(n.id)
        FROM (
            SELECT r.tenant_id, r.id, (row_number() OVER (PARTITION BY r.tenant_id) - 1) / 500 AS part
            FROM removed AS r
        ) AS n
        GROUP BY n.tenant_id, n.part;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER note_added AFTER INSERT ON chunk_embeddings
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION note_added_vectors();

-- On the passages, which one statement deletes: their vectors go by a cascade, each by a statement of its own.
CREATE TRIGGER note_removed AFTER DELETE ON chunks
REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION note_removed_vectors();

-- Run by `undercroft migrate` as the owner. The lock waits for whoever is inserting or deleting: what they do was not noted,
-- and is committed before anybody reads what there is to bring outside. Whoever comes after it notes. It is one lock, of what
-- both write: who inserts takes the passages after the vectors, who deletes before.
CREATE FUNCTION want_outside_index(wanted boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
SET lock_timeout = '10s'
AS $$
BEGIN
    IF EXISTS (SELECT FROM outside_index AS o WHERE o.is_wanted <> wanted) THEN
        LOCK TABLE chunk_embeddings IN SHARE ROW EXCLUSIVE MODE;
        UPDATE outside_index SET is_wanted = wanted, is_complete = false;
        TRUNCATE pending_vectors;
    END IF;
END
$$;

-- What is to be brought outside next, of all tenants. A lease only keeps two workers from doing the same: what is done twice is
-- done well, and a worker that dies leaves it to the next one.
CREATE FUNCTION lease_pending_vectors(row_limit int, lease interval)
RETURNS TABLE (id bigint, tenant_id uuid, chunk_ids bigint[])
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    UPDATE pending_vectors AS p SET leased_until = clock_timestamp() + lease
    FROM (
        SELECT o.id FROM pending_vectors AS o
        WHERE o.leased_until < clock_timestamp()
        ORDER BY o.id LIMIT row_limit
        FOR UPDATE SKIP LOCKED
    ) AS oldest
    WHERE p.id = oldest.id
    RETURNING p.id, p.tenant_id, p.chunk_ids
$$;

-- To compare both sides, over all tenants: ids of passages and of their tenants, and nothing else.
CREATE FUNCTION list_vectors(model smallint, after bigint, row_limit int)
RETURNS TABLE (chunk_id bigint, tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT e.chunk_id, e.tenant_id FROM chunk_embeddings AS e
    WHERE e.chunk_id > after AND e.model_id = model
    ORDER BY e.chunk_id LIMIT row_limit
$$;

CREATE FUNCTION find_vectors(model smallint, ids bigint[]) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT e.chunk_id FROM chunk_embeddings AS e WHERE e.chunk_id = ANY(ids) AND e.model_id = model
$$;

-- The nearest of what the caller may search, compared one by one: at most document_limit documents and vector_limit vectors. A
-- row without a passage where they are more; NULL for no limit.
CREATE FUNCTION compare_vectors(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    model_name text,
    query halfvec,
    document_limit int,
    vector_limit int,
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan
SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off
AS $$
DECLARE
    tenant uuid := current_tenant();
    searcher uuid := current_principal();
    grantees uuid[] := current_grantees();
    model smallint := (
        SELECT m.id FROM embedding_models AS m WHERE m.name = model_name AND m.dimensions = vector_dims(query)
    );
    -- searchable_blobs looks at ten times as many.
    most_documents CONSTANT int := 200000000;
    blobs uuid[] := searchable_blobs(
        tenant,
        searcher,
        grantees,
        collection_ids,
        document_ids,
        everywhere,
        filter,
        few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere),
        coalesce(document_limit, most_documents)
    );
    total bigint;
    compared bigint[];
    similarities real[];
BEGIN
    IF blobs IS NULL THEN
        RETURN QUERY SELECT NULL::bigint, NULL::real;
        RETURN;
    END IF;
    WITH passage AS MATERIALIZED (
        SELECT e.chunk_id, e.similarity
        FROM unnest(blobs) AS b
        CROSS JOIN LATERAL (
            SELECT e.chunk_id, (-(e.embedding <#> query))::real AS similarity FROM chunk_embeddings AS e
            WHERE e.tenant_id = tenant AND e.blob_id = b AND e.model_id = model
            OFFSET 0
        ) AS e
        LIMIT vector_limit::bigint + 1
    ), nearest AS (
        SELECT p.chunk_id, p.similarity FROM passage AS p
        ORDER BY p.similarity DESC, p.chunk_id LIMIT row_limit
    )
    SELECT (SELECT count(*) FROM passage), array_agg(n.chunk_id), array_agg(n.similarity)
    INTO total, compared, similarities FROM nearest AS n;
    IF total > vector_limit THEN
        RETURN QUERY SELECT NULL::bigint, NULL::real;
    ELSE
        RETURN QUERY SELECT * FROM unnest(compared, similarities);
    END IF;
END
$$;

-- Of proposed passages the first that the caller may search, with their similarity as it is here. What is proposed is believed
-- in nothing: another tenant's passages, and such as are gone, are not in the answer.
CREATE FUNCTION admit_vectors(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    model_name text,
    query halfvec,
    proposed bigint[],
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan
SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off
AS $$
DECLARE
    tenant uuid := current_tenant();
    searcher uuid := current_principal();
    grantees uuid[] := current_grantees();
    model smallint := (
        SELECT m.id FROM embedding_models AS m WHERE m.name = model_name AND m.dimensions = vector_dims(query)
    );
    opened uuid[] := few_opened_collections(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere
    );
BEGIN
    RETURN QUERY
    SELECT e.chunk_id, (-(e.embedding <#> query))::real
    FROM unnest(proposed) WITH ORDINALITY AS p (id, place)
    CROSS JOIN LATERAL (
        SELECT v.chunk_id, v.blob_id, v.embedding FROM chunk_embeddings AS v
        WHERE v.chunk_id = p.id AND v.model_id = model AND v.tenant_id = tenant
        OFFSET 0
    ) AS e
    WHERE EXISTS (
        SELECT FROM documents_to_search(
            e.blob_id, tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened
        )
        OFFSET 0
    )
    ORDER BY p.place
    LIMIT row_limit;
END
$$;

REVOKE ALL ON FUNCTION
    note_added_vectors(), note_removed_vectors(), want_outside_index(boolean),
    lease_pending_vectors(int, interval), list_vectors(smallint, bigint, int), find_vectors(smallint, bigint[]),
    compare_vectors(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int),
    admit_vectors(uuid[], uuid[], boolean, jsonpath, text, halfvec, bigint[], int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    lease_pending_vectors(int, interval), list_vectors(smallint, bigint, int), find_vectors(smallint, bigint[]),
    compare_vectors(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int),
    admit_vectors(uuid[], uuid[], boolean, jsonpath, text, halfvec, bigint[], int)
TO undercroft_app;

GRANT CREATE ON SCHEMA public TO undercroft_search, undercroft_system;
ALTER FUNCTION note_added_vectors() OWNER TO undercroft_system;
ALTER FUNCTION note_removed_vectors() OWNER TO undercroft_system;
ALTER FUNCTION lease_pending_vectors(int, interval) OWNER TO undercroft_system;
ALTER FUNCTION list_vectors(smallint, bigint, int) OWNER TO undercroft_search;
ALTER FUNCTION find_vectors(smallint, bigint[]) OWNER TO undercroft_search;
ALTER FUNCTION compare_vectors(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int)
OWNER TO undercroft_search;
ALTER FUNCTION admit_vectors(uuid[], uuid[], boolean, jsonpath, text, halfvec, bigint[], int)
OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search, undercroft_system;

-- How far the index of vectors is scanned is for the caller to say, and whether it may be asked at all.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

DROP FUNCTION search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int);

-- As in 0063. The index is asked for reach times as many as are wanted; where reach is NULL it is not asked: all is compared,
-- or it fails.
CREATE FUNCTION search_vector(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    model_name text,
    query halfvec,
    exact_limit int,
    blob_limit int,
    reach int,
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan
SET hnsw.iterative_scan = 'off'
SET hnsw.ef_search = 40
SET hnsw.max_scan_tuples = 5000
SET hnsw.scan_mem_multiplier = 8
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
    asked int := greatest(current_setting('hnsw.ef_search')::int, least(reach * row_limit, 1000));
    opened uuid[];
    listed int;
    is_rare boolean := true;
    blobs uuid[];
    total int;
    near bigint[];
    compared bigint[];
    scores real[];
    similarities real[];
BEGIN
    IF model IS NULL THEN
        RETURN;
    END IF;
    opened := few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere);
    PERFORM set_config('hnsw.ef_search', asked::text, true);
    FOREACH listed IN ARRAY CASE
        WHEN reach IS NULL THEN ARRAY[exact_limit] ELSE ARRAY[least(blob_limit, exact_limit), exact_limit]
    END LOOP
        IF is_rare THEN
            blobs := searchable_blobs(
                tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, listed
            );
        END IF;
        IF blobs IS NOT NULL THEN
            WITH passage AS MATERIALIZED (
                SELECT e.chunk_id, e.similarity
                FROM unnest(blobs) AS b
                CROSS JOIN LATERAL (
                    SELECT e.chunk_id, (-(e.embedding <#> query))::real AS similarity FROM chunk_embeddings AS e
                    WHERE e.tenant_id = tenant AND e.blob_id = b AND e.model_id = model
                    OFFSET 0
                ) AS e
                LIMIT exact_limit + 1
            ), nearest AS (
                SELECT p.chunk_id, p.similarity FROM passage AS p
                ORDER BY p.similarity DESC, p.chunk_id LIMIT row_limit
            )
            SELECT (SELECT count(*) FROM passage), array_agg(n.chunk_id), array_agg(n.similarity)
            INTO total, compared, similarities FROM nearest AS n;
            IF total <= exact_limit THEN
                RETURN QUERY SELECT * FROM unnest(compared, similarities);
                RETURN;
            END IF;
            blobs := NULL;
        END IF;
        IF reach IS NULL THEN
            RAISE EXCEPTION 'more than % passages to compare', exact_limit USING ERRCODE = 'program_limit_exceeded';
        END IF;
        -- The index is partial on the model and typed by its length, so both stand in the text of the statement.
        EXECUTE format(
            'SELECT coalesce(array_agg(n.chunk_id), ''{}''), array_agg(n.score) FROM ('
            'SELECT e.chunk_id, (-(e.embedding::halfvec(%1$s) <#> $1))::real AS score FROM chunk_embeddings AS e'
            ' WHERE e.tenant_id = $2 AND e.model_id = %2$s'
            ' AND EXISTS (SELECT FROM documents_to_search(e.blob_id, $2, $3, $4, $5, $6, $7, $8, $9) OFFSET 0)'
            ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $10) AS n',
            vector_dims(query), model
        )
        INTO near, scores
        USING query, tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, row_limit;
        EXIT WHEN cardinality(near) = row_limit;
        is_rare := cardinality(near) < asked / 12;
        PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true);
        IF is_rare THEN
            PERFORM set_config(
                'hnsw.max_scan_tuples', (4 * current_setting('hnsw.max_scan_tuples')::int)::text, true
            );
        END IF;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(near, scores);
END
$$;

REVOKE ALL ON FUNCTION search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int, int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

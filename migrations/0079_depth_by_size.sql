-- How far the index of vectors is scanned goes by how much is in it: of the ten nearest a scan of 150 finds .93 in 100,000
-- passages, and .62 in 1,000,000. And where few of the nearest may be searched, as many are compared one by one as take no
-- longer than the scan that would find them. docs/search.md has the measurements.
--
-- Where more than a few documents may be searched, the index is asked before what may be is listed and compared, unless most
-- that is near will be other tenants'.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- As in 0068, but for how far it looks, and in what order. The arguments are the same: processes that run meanwhile go on with it.
CREATE OR REPLACE FUNCTION search_vector(
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
SET hnsw.max_scan_tuples = 20000
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
    -- Of all tenants, as it was counted last; -1 before that.
    indexed float8 := (SELECT c.reltuples FROM pg_class AS c WHERE c.oid = to_regclass('chunk_embeddings_hnsw_' || model));
    farthest int := current_setting('hnsw.max_scan_tuples')::int;
    few_near CONSTANT int := least(greatest(current_setting('hnsw.ef_search')::int, reach * row_limit), 1000);
    depth CONSTANT int := row_limit + (reach - 1) * greatest(row_limit, sqrt(greatest(indexed, 0))::int);
    -- A few are looked at first, which tells how many of the nearest may be searched; all, where those are not many more. The
    -- index takes no more than 1,000 at once.
    asked int := CASE WHEN depth < 2 * few_near THEN least(greatest(depth, few_near), 1000) ELSE few_near END;
    opened uuid[];
    few_documents CONSTANT int := 200;
    few_passages CONSTANT int := 2500;
    listed_limit CONSTANT int := exact_limit;
    is_promising boolean;
    is_rare boolean;
    blobs uuid[];
    most int;
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
    -- The index has all tenants' passages. Where it is asked for as many as are wanted of this one's, at the least, it is
    -- worth a look before much is listed and compared.
    is_promising := reach IS NOT NULL AND row_limit * indexed <= asked * (
        SELECT s.chunk_count FROM corpus_statistics AS s WHERE s.tenant_id = tenant
    );
    PERFORM set_config('hnsw.ef_search', asked::text, true);
    FOR round IN 1..3 LOOP
        IF round = 1 OR round = 2 AND is_rare THEN
            blobs := searchable_blobs(
                tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened,
                CASE
                    WHEN round > 1 OR reach IS NULL THEN listed_limit
                    WHEN is_promising THEN least(blob_limit, few_documents)
                    ELSE least(blob_limit, listed_limit)
                END
            );
            most := CASE WHEN round = 1 AND is_promising THEN least(exact_limit, few_passages) ELSE exact_limit END;
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
                LIMIT most + 1
            ), nearest AS (
                SELECT p.chunk_id, p.similarity FROM passage AS p
                ORDER BY p.similarity DESC, p.chunk_id LIMIT row_limit
            )
            SELECT (SELECT count(*) FROM passage), array_agg(n.chunk_id), array_agg(n.similarity)
            INTO total, compared, similarities FROM nearest AS n;
            IF total <= most THEN
                RETURN QUERY SELECT * FROM unnest(compared, similarities);
                RETURN;
            END IF;
            blobs := NULL;
        END IF;
        IF reach IS NULL THEN
            RAISE EXCEPTION 'more than % passages to compare', exact_limit USING ERRCODE = 'program_limit_exceeded';
        END IF;
        -- The index is partial on the model and typed by its length, so both stand in the text of the statement. Of those
        -- that it comes by, in about their order, the nearest are asked for first whether they may be searched.
        EXECUTE format(
            'SELECT coalesce(array_agg(n.chunk_id), ''{}''), array_agg(n.score) FROM ('
            'SELECT e.chunk_id, e.score FROM ('
            'SELECT s.* FROM ('
            'SELECT e.chunk_id, e.blob_id, e.tenant_id, (-(e.embedding::halfvec(%1$s) <#> $1))::real AS score'
            ' FROM chunk_embeddings AS e WHERE e.model_id = %2$s'
            ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $11) AS s'
            ' ORDER BY s.score DESC, s.chunk_id OFFSET 0) AS e'
            ' WHERE e.tenant_id = $2'
            ' AND EXISTS (SELECT FROM documents_to_search(e.blob_id, $2, $3, $4, $5, $6, $7, $8, $9) OFFSET 0)'
            ' LIMIT $10) AS n',
            vector_dims(query), model
        )
        INTO near, scores
        USING
            query,
            tenant,
            searcher,
            grantees,
            collection_ids,
            document_ids,
            everywhere,
            filter,
            opened,
            row_limit,
            asked;
        EXIT WHEN cardinality(near) = row_limit AND asked >= depth OR round > 1 AND asked >= farthest;
        is_rare := cardinality(near) < asked / 12;
        -- As far as finds enough if those so far tell, and as much again; where they do not, to the end.
        asked := greatest(
            asked,
            least(
                CASE
                    WHEN round > 1 THEN farthest
                    ELSE greatest(
                        CASE WHEN is_rare THEN 4 ELSE 1 END * depth,
                        2 * row_limit * asked / greatest(cardinality(near), 1)
                    )
                END,
                farthest
            )
        );
        -- That many are compared in less time than the index takes for as much.
        exact_limit := greatest(exact_limit, 20 * asked);
        PERFORM set_config('hnsw.ef_search', least(asked, 1000)::text, true);
        PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true);
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(near, scores);
END
$$;

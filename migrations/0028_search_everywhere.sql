-- Search over single documents, and over all that the caller may search, beside collections. `everywhere` is whether all
-- of it is meant. What is found costs alike whether the caller may search ten documents or a hundred thousand: what they may
-- search is listed as far as a limit; beyond that, also of one collection, each candidate is asked for.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- The documents with this content, of those asked for, that the caller may search: theirs, granted, or in a collection that
-- is theirs or granted. It has no settings of its own, so that it becomes part of the statement that asks: a call would take
-- ten times the few looks into indexes that it is. OFFSET 0 keeps each of them what it is; the planner would rather read all
-- of the caller's grants first.
CREATE FUNCTION documents_to_search(
    blob uuid, collection_ids uuid[], document_ids uuid[], everywhere boolean, grantees uuid[]
)
RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT d.id
FROM document_versions AS v
INNER JOIN documents AS d ON v.document_id = d.id AND v.number = d.current_version
WHERE
    v.tenant_id = current_tenant()
    AND v.blob_id = documents_to_search.blob
    AND d.deleted_at IS NULL
    AND NOT d.is_sealed
    AND (
        (documents_to_search.everywhere OR d.id = ANY(documents_to_search.document_ids))
        AND (
            d.owner_id = current_principal()
            OR EXISTS (
                SELECT
                FROM grants AS g
                WHERE
                    g.tenant_id = current_tenant()
                    AND g.resource_id = d.id
                    AND g.grantee_id = ANY(documents_to_search.grantees)
                    AND 'search' = ANY(g.actions)
                    AND is_live(g)
                OFFSET 0 -- noqa: AM09
            )
        )
        OR EXISTS (
            SELECT
            FROM collection_documents AS m
            INNER JOIN collections AS c ON m.collection_id = c.id
            LEFT JOIN grants AS mg ON m.tenant_id = mg.tenant_id AND m.grant_id = mg.id
            WHERE
                m.tenant_id = current_tenant()
                AND m.document_id = d.id
                AND (
                    documents_to_search.everywhere
                    OR d.id = ANY(documents_to_search.document_ids)
                    OR m.collection_id = ANY(documents_to_search.collection_ids)
                )
                AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
                AND (
                    c.owner_id = current_principal()
                    OR EXISTS (
                        SELECT
                        FROM grants AS g
                        WHERE
                            g.tenant_id = current_tenant()
                            AND g.resource_id = c.id
                            AND g.grantee_id = ANY(documents_to_search.grantees)
                            AND 'search' = ANY(g.actions)
                            AND is_live(g)
                        OFFSET 0 -- noqa: AM09
                    )
                )
            OFFSET 0 -- noqa: AM09
        )
    );
-- noqa: enable=RF01
END;

-- The contents that the caller may search of these collections and documents, or everywhere: at most row_limit, some twice.
-- Joined by indexes alone and by nobody else, whatever the planner thinks: it reads no more of a table than it answers, and
-- to start workers takes longer than that.
CREATE FUNCTION searchable_blobs(
    collection_ids uuid[], document_ids uuid[], everywhere boolean, row_limit int
)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    grantees uuid[] := current_grantees();
BEGIN
    RETURN QUERY
    SELECT v.blob_id
    FROM (
        SELECT d.id FROM documents AS d
        WHERE everywhere AND d.tenant_id = current_tenant() AND d.owner_id = current_principal()
        UNION ALL
        SELECT g.document_id FROM grants AS g
        WHERE everywhere AND g.tenant_id = current_tenant() AND g.grantee_id = ANY(grantees)
          AND g.document_id IS NOT NULL AND 'search' = ANY(g.actions) AND is_live(g)
        UNION ALL
        SELECT m.document_id
        FROM (
            SELECT c.id FROM collections AS c
            WHERE everywhere AND c.tenant_id = current_tenant() AND c.owner_id = current_principal()
            UNION ALL
            SELECT g.collection_id FROM grants AS g
            WHERE everywhere AND g.tenant_id = current_tenant() AND g.grantee_id = ANY(grantees)
              AND g.collection_id IS NOT NULL AND 'search' = ANY(g.actions) AND is_live(g)
            UNION ALL
            SELECT c.id FROM collections AS c
            WHERE NOT everywhere AND c.tenant_id = current_tenant() AND c.id = ANY(collection_ids)
              AND (
                  c.owner_id = current_principal()
                  OR EXISTS (
                      SELECT FROM grants AS g
                      WHERE g.tenant_id = current_tenant() AND g.resource_id = c.id AND g.grantee_id = ANY(grantees)
                        AND 'search' = ANY(g.actions) AND is_live(g)
                  )
              )
        ) AS opened
        JOIN collection_documents AS m ON m.tenant_id = current_tenant() AND m.collection_id = opened.id
        LEFT JOIN grants AS mg ON mg.tenant_id = m.tenant_id AND mg.id = m.grant_id
        WHERE m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions)
    ) AS reached
    JOIN documents AS d ON d.id = reached.id AND d.deleted_at IS NULL AND NOT d.is_sealed
    JOIN document_versions AS v ON v.document_id = d.id AND v.number = d.current_version
    UNION ALL
    SELECT v.blob_id FROM document_versions AS v
    WHERE NOT everywhere AND v.tenant_id = current_tenant() AND v.document_id = ANY(document_ids)
      AND EXISTS (SELECT FROM documents_to_search(v.blob_id, '{}', document_ids, false, grantees) OFFSET 0)
    LIMIT row_limit;
END
$$;

-- BM25 as in 0002. Beyond blob_limit contents the candidates are ranked first and asked for in that order. A custom plan
-- knows how many contents there are, and looks them up in a hash.
CREATE FUNCTION search_lexical(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    query text,
    candidate_limit int,
    blob_limit int,
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    grantees uuid[] := current_grantees();
    blobs uuid[];
    candidates tsquery;
    weights sparsevec;
BEGIN
    WITH corpus AS (
        SELECT s.chunk_count FROM corpus_statistics AS s WHERE s.tenant_id = current_tenant()
    ), word AS (
        SELECT
            w.lexeme,
            cardinality(w.positions) AS occurrences,
            s.chunk_count AS frequency,
            ln(1 + (corpus.chunk_count - s.chunk_count + 0.5) / (s.chunk_count + 0.5)) AS rarity,
            sum(s.chunk_count) OVER (ORDER BY s.chunk_count, w.lexeme)
            - s.chunk_count AS frequencies_before
        FROM unnest(to_tsvector('english', query)) AS w
        JOIN term_statistics AS s ON s.tenant_id = current_tenant() AND s.term = w.lexeme
        CROSS JOIN corpus
        WHERE s.chunk_count > 0
    ), place AS (
        SELECT term_position(lexeme) AS place, sum(rarity * occurrences)::real AS weight
        FROM word GROUP BY 1
    )
    SELECT
        (
            SELECT string_agg(
                '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', '|'
            )::tsquery
            FROM word WHERE frequencies_before < candidate_limit
        ),
        (
            SELECT ('{' || string_agg(place || ':' || weight, ',' ORDER BY place) || '}/1000000000')::sparsevec
            FROM place
        )
    INTO candidates, weights;

    blobs := ARRAY(SELECT searchable_blobs(collection_ids, document_ids, everywhere, blob_limit + 1));
    IF cardinality(blobs) > blob_limit THEN
        RETURN QUERY
        -- OFFSET 0 keeps the check from every candidate: it is asked in the order of the scores, until there are enough
        SELECT ranked.id, ranked.score
        FROM (
            SELECT c.id, c.blob_id, (-(c.terms <#> weights))::real AS score FROM chunks AS c
            WHERE c.tenant_id = current_tenant() AND c.lexemes @@ candidates
            ORDER BY c.terms <#> weights, c.id
            OFFSET 0
        ) AS ranked
        WHERE EXISTS (
            SELECT FROM documents_to_search(ranked.blob_id, collection_ids, document_ids, everywhere, grantees) OFFSET 0
        )
        LIMIT row_limit;
    ELSE
        RETURN QUERY
        SELECT c.id, (-(c.terms <#> weights))::real
        FROM chunks AS c
        WHERE c.tenant_id = current_tenant() AND c.lexemes @@ candidates AND c.blob_id = ANY(blobs)
        ORDER BY c.terms <#> weights, c.id
        LIMIT row_limit;
    END IF;
END
$$;

-- Nearest passages by inner product of unit vectors. Up to exact_limit of them are compared one by one where at most
-- blob_limit contents hold them, which is quick to find out. Else the model's index is scanned on and each passage asked for;
-- where that ends with too few, what the caller may search is rare around there, and is compared one by one up to
-- exact_limit contents.
CREATE FUNCTION search_vector(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    model_name text,
    query halfvec,
    exact_limit int,
    blob_limit int,
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET hnsw.iterative_scan = 'relaxed_order'
SET hnsw.ef_search = 400
SET hnsw.max_scan_tuples = 20000
SET hnsw.scan_mem_multiplier = 8
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    model smallint := (
        SELECT m.id FROM embedding_models AS m WHERE m.name = model_name AND m.dimensions = vector_dims(query)
    );
    listed int;
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
    FOREACH listed IN ARRAY ARRAY[least(blob_limit, exact_limit), exact_limit] LOOP
        SELECT count(*), array_agg(DISTINCT b) INTO total, blobs
        FROM searchable_blobs(collection_ids, document_ids, everywhere, listed + 1) AS b;
        IF total <= listed THEN
            WITH passage AS MATERIALIZED (
                SELECT e.chunk_id, e.similarity
                FROM unnest(blobs) AS b
                CROSS JOIN LATERAL (
                    SELECT e.chunk_id, (-(e.embedding <#> query))::real AS similarity FROM chunk_embeddings AS e
                    WHERE e.tenant_id = current_tenant() AND e.blob_id = b AND e.model_id = model
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
        END IF;
        EXIT WHEN near IS NOT NULL;
        -- The index is partial on the model and typed by its length, so both stand in the text of the statement.
        EXECUTE format(
            'SELECT coalesce(array_agg(n.chunk_id), ''{}''), array_agg(n.score) FROM ('
            'SELECT e.chunk_id, (-(e.embedding::halfvec(%1$s) <#> $1))::real AS score FROM chunk_embeddings AS e'
            ' WHERE e.tenant_id = current_tenant() AND e.model_id = %2$s'
            ' AND EXISTS (SELECT FROM documents_to_search(e.blob_id, $2, $3, $4, $5) OFFSET 0)'
            ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $6) AS n',
            vector_dims(query), model
        ) INTO near, scores USING query, collection_ids, document_ids, everywhere, current_grantees(), row_limit;
        EXIT WHEN cardinality(near) = row_limit;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(near, scores);
END
$$;

DROP FUNCTION search_lexical(uuid[], text, int, int);
DROP FUNCTION search_vector(uuid[], text, halfvec, int, int);
DROP FUNCTION searchable_blobs(uuid[]);

REVOKE ALL ON FUNCTION
    documents_to_search(uuid, uuid[], uuid[], boolean, uuid[]), searchable_blobs(uuid[], uuid[], boolean, int),
    search_lexical(uuid[], uuid[], boolean, text, int, int, int),
    search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    search_lexical(uuid[], uuid[], boolean, text, int, int, int),
    search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int)
TO undercroft_app;
GRANT EXECUTE ON FUNCTION
    documents_to_search(uuid, uuid[], uuid[], boolean, uuid[]), searchable_blobs(uuid[], uuid[], boolean, int)
TO undercroft_search;

GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_lexical(uuid[], uuid[], boolean, text, int, int, int) OWNER TO undercroft_search;
ALTER FUNCTION search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

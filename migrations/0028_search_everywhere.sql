-- Search over single documents, and over all that the caller may search, beside collections. `everywhere` is whether all
-- of it is meant: then what the caller may search is counted up to a cap, and beyond that each candidate is asked for, so
-- that the cost follows the candidates and not the number of grants.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- What the caller may search of these collections and documents, or everywhere; at most row_limit contents.
CREATE FUNCTION searchable_blobs(collection_ids uuid[], document_ids uuid[], everywhere boolean, row_limit int)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    grantees uuid[] := current_grantees();
BEGIN
    IF NOT everywhere THEN
        RETURN QUERY
        SELECT b FROM searchable_blobs(collection_ids) AS b
        UNION ALL
        SELECT v.blob_id
        FROM documents AS d
        JOIN document_versions AS v ON v.document_id = d.id AND v.number = d.current_version
        WHERE d.tenant_id = current_tenant()
          AND d.id = ANY(document_ids)
          AND d.deleted_at IS NULL
          AND NOT d.is_sealed
          AND may_search_document(d.id, d.owner_id, grantees);
        RETURN;
    END IF;
    -- Each branch is read from an index in the order in which it is asked, and no further than the limit.
    RETURN QUERY
    SELECT found.blob_id
    FROM (
        SELECT d.id, d.current_version FROM documents AS d
        WHERE d.tenant_id = current_tenant() AND d.owner_id = current_principal()
          AND d.deleted_at IS NULL AND NOT d.is_sealed
        UNION ALL
        SELECT d.id, d.current_version
        FROM grants AS g
        JOIN documents AS d ON d.id = g.document_id
        WHERE g.tenant_id = current_tenant() AND g.grantee_id = ANY(grantees)
          AND 'search' = ANY(g.actions) AND is_live(g)
          AND d.deleted_at IS NULL AND NOT d.is_sealed
        UNION ALL
        SELECT d.id, d.current_version
        FROM (
            SELECT c.id FROM collections AS c
            WHERE c.tenant_id = current_tenant() AND c.owner_id = current_principal()
            UNION ALL
            SELECT g.collection_id FROM grants AS g
            WHERE g.tenant_id = current_tenant() AND g.grantee_id = ANY(grantees) AND g.collection_id IS NOT NULL
              AND 'search' = ANY(g.actions) AND is_live(g)
        ) AS opened
        JOIN collection_documents AS m ON m.tenant_id = current_tenant() AND m.collection_id = opened.id
        JOIN documents AS d ON d.id = m.document_id
        LEFT JOIN grants AS mg ON mg.tenant_id = m.tenant_id AND mg.id = m.grant_id
        WHERE d.deleted_at IS NULL AND NOT d.is_sealed
          AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
    ) AS reached
    CROSS JOIN LATERAL (
        SELECT v.blob_id FROM document_versions AS v
        WHERE v.document_id = reached.id AND v.number = reached.current_version
    ) AS found
    LIMIT row_limit;
END
$$;

-- Whether the caller may search a document: theirs, granted, or in a collection that is theirs or granted.
CREATE FUNCTION may_search_document(document uuid, owner uuid, grantees uuid[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT owner = current_principal()
    OR EXISTS (
        SELECT FROM grants AS g
        WHERE g.tenant_id = current_tenant() AND g.resource_id = document AND g.grantee_id = ANY(grantees)
          AND 'search' = ANY(g.actions) AND is_live(g)
    )
    OR EXISTS (
        SELECT FROM collection_documents AS m
        JOIN collections AS c ON c.id = m.collection_id
        LEFT JOIN grants AS mg ON mg.tenant_id = m.tenant_id AND mg.id = m.grant_id
        WHERE m.tenant_id = current_tenant() AND m.document_id = document
          AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
          AND (
              c.owner_id = current_principal()
              OR EXISTS (
                  SELECT FROM grants AS g
                  WHERE g.tenant_id = m.tenant_id AND g.resource_id = c.id AND g.grantee_id = ANY(grantees)
                    AND 'search' = ANY(g.actions) AND is_live(g)
              )
          )
    )
$$;

-- The same of a content: by any document that has it now.
CREATE FUNCTION may_search_blob(blob uuid, grantees uuid[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM document_versions AS v
        JOIN documents AS d ON d.id = v.document_id AND d.current_version = v.number
        WHERE v.tenant_id = current_tenant() AND v.blob_id = blob
          AND d.deleted_at IS NULL AND NOT d.is_sealed
          AND may_search_document(d.id, d.owner_id, grantees)
    )
$$;

-- BM25 as in 0002. Beyond blob_limit contents the candidates are ranked first and asked for in that order.
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

    blobs := ARRAY(
        SELECT searchable_blobs(
            collection_ids, document_ids, everywhere, CASE WHEN everywhere THEN blob_limit + 1 END
        )
    );
    IF everywhere AND cardinality(blobs) > blob_limit THEN
        RETURN QUERY
        -- OFFSET 0 keeps the check from every candidate: it is asked in the order of the scores, until there are enough
        SELECT ranked.id, ranked.score
        FROM (
            SELECT c.id, c.blob_id, (-(c.terms <#> weights))::real AS score FROM chunks AS c
            WHERE c.tenant_id = current_tenant() AND c.lexemes @@ candidates
            ORDER BY c.terms <#> weights, c.id
            OFFSET 0
        ) AS ranked
        WHERE may_search_blob(ranked.blob_id, grantees)
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

-- Nearest passages as in 0002. Beyond blob_limit contents the model's index is scanned on, and each passage asked for.
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
SET hnsw.ef_search = 100
AS $$
DECLARE
    grantees uuid[] := current_grantees();
    blobs uuid[] := ARRAY(
        SELECT searchable_blobs(
            collection_ids, document_ids, everywhere, CASE WHEN everywhere THEN blob_limit + 1 END
        )
    );
    model smallint := (
        SELECT m.id FROM embedding_models AS m WHERE m.name = model_name AND m.dimensions = vector_dims(query)
    );
    asks boolean := everywhere AND cardinality(blobs) > blob_limit;
    authorised int;
BEGIN
    IF NOT asks THEN
        SELECT count(*) INTO authorised FROM (
            SELECT FROM chunk_embeddings AS e
            WHERE e.tenant_id = current_tenant() AND e.blob_id = ANY(blobs) AND e.model_id = model
            LIMIT exact_limit + 1
        ) AS capped;
    END IF;
    IF authorised <= exact_limit THEN
        RETURN QUERY
        -- MATERIALIZED keeps the planner from an index scan that would find too few of a small set.
        WITH passage AS MATERIALIZED (
            SELECT e.chunk_id, (-(e.embedding <#> query))::real AS similarity
            FROM chunk_embeddings AS e
            WHERE e.tenant_id = current_tenant() AND e.blob_id = ANY(blobs) AND e.model_id = model
        )
        SELECT p.chunk_id, p.similarity FROM passage AS p
        ORDER BY p.similarity DESC, p.chunk_id LIMIT row_limit;
    ELSE
        -- The index is partial on the model and typed by its length, so both stand in the text of the statement.
        RETURN QUERY EXECUTE format(
            'SELECT e.chunk_id, (-(e.embedding::halfvec(%1$s) <#> $1))::real FROM chunk_embeddings AS e'
            ' WHERE e.tenant_id = current_tenant() AND e.model_id = %2$s AND '
            || CASE WHEN asks THEN 'may_search_blob(e.blob_id, $3)' ELSE 'e.blob_id = ANY($2)' END
            || ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $4',
            vector_dims(query), model
        ) USING query, blobs, grantees, row_limit;
    END IF;
END
$$;

DROP FUNCTION search_lexical(uuid[], text, int, int);
DROP FUNCTION search_vector(uuid[], text, halfvec, int, int);

REVOKE ALL ON FUNCTION
    searchable_blobs(uuid[], uuid[], boolean, int), may_search_document(uuid, uuid, uuid[]),
    may_search_blob(uuid, uuid[]), search_lexical(uuid[], uuid[], boolean, text, int, int, int),
    search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    search_lexical(uuid[], uuid[], boolean, text, int, int, int),
    search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int)
TO undercroft_app;
GRANT EXECUTE ON FUNCTION
    searchable_blobs(uuid[], uuid[], boolean, int), may_search_document(uuid, uuid, uuid[]),
    may_search_blob(uuid, uuid[])
TO undercroft_search;

GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_lexical(uuid[], uuid[], boolean, text, int, int, int) OWNER TO undercroft_search;
ALTER FUNCTION search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

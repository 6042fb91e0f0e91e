-- BM25 and vector search as narrow functions. `@@` is not leakproof, so under row-level security PostgreSQL would not
-- use the GIN index for it; these functions run as undercroft_search, whose policy shows every row, and apply tenant
-- and principal themselves, from the transaction's settings and never from an argument. STABLE: one snapshot a call.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- A term's place in the sparse vector: terms are hashed to 1 .. 999,999,937.
CREATE FUNCTION term_position(term text) RETURNS int
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT (((hashtextextended(term, 0) % 999999937) + 999999937) % 999999937 + 1)::int $$;

-- The passage's half of BM25: tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / average)), k1 = 1.2, b = 0.75.
CREATE FUNCTION bm25_weights(lexemes tsvector, average_length real) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH term AS (
        SELECT term_position(lexeme) AS place, sum(cardinality(positions))::real AS frequency
        FROM unnest(lexemes) GROUP BY 1
    ), total AS (
        SELECT coalesce(sum(frequency), 0) AS length FROM term
    )
    SELECT (
        '{' || coalesce(string_agg(
            place || ':' || (
                frequency * 2.2
                / (frequency + 1.2 * (0.25 + 0.75 * length / greatest(average_length, 1)))
            )::real,
            ',' ORDER BY place
        ), '') || '}/1000000000'
    )::sparsevec
    FROM term, total
$$;

-- How many term occurrences a passage has: BM25's length.
CREATE FUNCTION term_count(lexemes tsvector) RETURNS int
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(sum(cardinality(positions)), 0)::int FROM unnest(lexemes) $$;

-- Statistics follow the chunks whatever inserts or deletes them, cascades from a deleted blob included.
-- The tenant's corpus_statistics row is taken first and held to the end of the transaction: it is the lock under which the
-- term rows change, without which two transactions that touch the same terms in another order would deadlock.
CREATE FUNCTION count_added_chunks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO corpus_statistics AS s (tenant_id, chunk_count, term_total, weighted_average)
    SELECT a.tenant_id, count(*), sum(term_count(a.lexemes)), avg(term_count(a.lexemes))::real
    FROM added AS a GROUP BY a.tenant_id
    ON CONFLICT (tenant_id) DO UPDATE SET
        chunk_count = s.chunk_count + excluded.chunk_count,
        term_total = s.term_total + excluded.term_total,
        weighted_average = CASE WHEN s.chunk_count = 0 THEN excluded.weighted_average ELSE s.weighted_average END;

    INSERT INTO term_statistics AS s (tenant_id, term, chunk_count)
    SELECT a.tenant_id, word.lexeme, count(*)
    FROM added AS a CROSS JOIN unnest(a.lexemes) AS word
    GROUP BY a.tenant_id, word.lexeme
    ON CONFLICT (tenant_id, term) DO UPDATE SET chunk_count = s.chunk_count + excluded.chunk_count;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_removed_chunks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE corpus_statistics AS s
    SET chunk_count = s.chunk_count - gone.chunk_count, term_total = s.term_total - gone.term_total
    FROM (
        SELECT r.tenant_id, count(*) AS chunk_count, sum(term_count(r.lexemes)) AS term_total
        FROM removed AS r GROUP BY r.tenant_id
    ) AS gone
    WHERE s.tenant_id = gone.tenant_id;

    UPDATE term_statistics AS s SET chunk_count = s.chunk_count - gone.chunk_count
    FROM (
        SELECT r.tenant_id, word.lexeme, count(*) AS chunk_count
        FROM removed AS r CROSS JOIN unnest(r.lexemes) AS word
        GROUP BY r.tenant_id, word.lexeme
    ) AS gone
    WHERE s.tenant_id = gone.tenant_id AND s.term = gone.lexeme;

    -- A term that no chunk holds any more is not kept: the vocabulary must not remember a deleted document.
    DELETE FROM term_statistics AS s
    USING (
        SELECT DISTINCT r.tenant_id, word.lexeme FROM removed AS r CROSS JOIN unnest(r.lexemes) AS word
    ) AS gone
    WHERE s.tenant_id = gone.tenant_id AND s.term = gone.lexeme AND s.chunk_count <= 0;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['term_statistics', 'corpus_statistics'] LOOP
        EXECUTE format(
            'CREATE POLICY keep_statistics ON %I TO undercroft_system USING (true) WITH CHECK (true)', table_name
        );
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO undercroft_system', table_name);
        EXECUTE format('REVOKE INSERT, DELETE ON %I FROM undercroft_app', table_name);
    END LOOP;
END
$$;

CREATE TRIGGER count_added AFTER INSERT ON chunks
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION count_added_chunks();

CREATE TRIGGER count_removed AFTER DELETE ON chunks
REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION count_removed_chunks();

-- The contents that the transaction's principal may search within the given collections.
CREATE FUNCTION searchable_blobs(collection_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT v.blob_id
    FROM collections AS c
    JOIN collection_documents AS m ON m.tenant_id = c.tenant_id AND m.collection_id = c.id
    JOIN documents AS d ON d.tenant_id = m.tenant_id AND d.id = m.document_id
    JOIN document_versions AS v ON v.document_id = d.id AND v.number = d.current_version
    WHERE c.tenant_id = current_tenant()
      AND c.id = ANY(collection_ids)
      AND c.owner_id = current_principal()
      AND d.owner_id = current_principal()
$$;

-- BM25 over the passages that hold any of the query's words. Candidates come from the GIN index, the rarest words first
-- until their frequencies add up to candidate_limit, so that a common word never costs a scan of half the index.
CREATE FUNCTION search_lexical(
    collection_ids uuid[], query text, candidate_limit int, row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
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

    RETURN QUERY
    SELECT c.id, (-(c.terms <#> weights))::real
    FROM chunks AS c
    WHERE c.tenant_id = current_tenant()
      AND c.lexemes @@ candidates
      AND c.blob_id IN (SELECT searchable_blobs(collection_ids))
    ORDER BY c.terms <#> weights, c.id
    LIMIT row_limit;
END
$$;

-- Nearest passages by inner product of unit vectors. Exact over a small authorised set; beyond exact_limit passages the
-- model's HNSW index, scanned on until enough authorised rows were found.
CREATE FUNCTION search_vector(
    collection_ids uuid[], model_name text, query halfvec, exact_limit int, row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET hnsw.iterative_scan = 'relaxed_order'
SET hnsw.ef_search = 100
AS $$
DECLARE
    blobs uuid[] := ARRAY(SELECT searchable_blobs(collection_ids));
    model smallint := (
        SELECT m.id FROM embedding_models AS m WHERE m.name = model_name AND m.dimensions = vector_dims(query)
    );
    authorised int;
BEGIN
    SELECT count(*) INTO authorised FROM (
        SELECT FROM chunk_embeddings AS e
        WHERE e.tenant_id = current_tenant() AND e.blob_id = ANY(blobs) AND e.model_id = model
        LIMIT exact_limit + 1
    ) AS capped;
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
            ' WHERE e.tenant_id = current_tenant() AND e.blob_id = ANY($2) AND e.model_id = %2$s'
            ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $3',
            vector_dims(query), model
        ) USING query, blobs, row_limit;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION
    search_lexical(uuid[], text, int, int), search_vector(uuid[], text, halfvec, int, int),
    searchable_blobs(uuid[]), term_position(text), bm25_weights(tsvector, real), term_count(tsvector),
    count_added_chunks(), count_removed_chunks()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    search_lexical(uuid[], text, int, int), search_vector(uuid[], text, halfvec, int, int),
    term_position(text), bm25_weights(tsvector, real), term_count(tsvector)
TO undercroft_app;
GRANT EXECUTE ON FUNCTION
    searchable_blobs(uuid[]), term_position(text), bm25_weights(tsvector, real), term_count(tsvector)
TO undercroft_search;
GRANT EXECUTE ON FUNCTION term_count(tsvector) TO undercroft_system;

GRANT CREATE ON SCHEMA public TO undercroft_search, undercroft_system;
ALTER FUNCTION search_lexical(uuid[], text, int, int) OWNER TO undercroft_search;
ALTER FUNCTION search_vector(uuid[], text, halfvec, int, int) OWNER TO undercroft_search;
ALTER FUNCTION count_added_chunks() OWNER TO undercroft_system;
ALTER FUNCTION count_removed_chunks() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_search, undercroft_system;

-- Gives a model its number and its index. Run by `undercroft migrate` as the owner: creating an index is not the
-- service's right.
CREATE FUNCTION register_embedding_model(model_name text, model_dimensions int) RETURNS smallint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    model embedding_models;
BEGIN
    INSERT INTO embedding_models (name, dimensions) VALUES (model_name, model_dimensions)
    ON CONFLICT (name) DO NOTHING;
    SELECT * INTO STRICT model FROM embedding_models WHERE name = model_name;
    IF model.dimensions <> model_dimensions THEN
        RAISE EXCEPTION 'embedding model % has % dimensions, not %', model_name, model.dimensions, model_dimensions;
    END IF;
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS chunk_embeddings_hnsw_%2$s ON chunk_embeddings'
        ' USING hnsw ((embedding::halfvec(%1$s)) halfvec_ip_ops) WHERE model_id = %2$s',
        model_dimensions, model.id
    );
    RETURN model.id;
END
$$;
REVOKE ALL ON FUNCTION register_embedding_model(text, int) FROM PUBLIC;

-- What a search costs follows what it looks at, and not how much its caller may search. Which collections are open to the
-- caller is found out once, so that a candidate that no grant of its own lets through costs no more than a look at its
-- memberships; how many documents they reach is counted, up to a limit, before any of those is looked at.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

DROP FUNCTION documents_to_search(uuid, uuid[], uuid[], boolean, uuid[]);
DROP FUNCTION searchable_blobs(uuid[], uuid[], boolean, int);

-- The collections that the caller may search, of these or of all: theirs and granted, some twice; at most row_limit.
CREATE FUNCTION opened_collections(collection_ids uuid[], all_of_them boolean, grantees uuid[], row_limit int)
RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT c.id
FROM collections AS c
WHERE
    c.tenant_id = current_tenant()
    AND c.owner_id = current_principal()
    AND (opened_collections.all_of_them OR c.id = ANY(opened_collections.collection_ids))
UNION ALL
SELECT g.collection_id
FROM grants AS g
WHERE
    g.tenant_id = current_tenant()
    AND g.grantee_id = ANY(opened_collections.grantees)
    AND g.collection_id IS NOT NULL
    AND (opened_collections.all_of_them OR g.collection_id = ANY(opened_collections.collection_ids))
    AND 'search' = ANY(g.actions)
    AND is_live(g)
LIMIT opened_collections.row_limit; -- noqa: AM09
-- noqa: enable=RF01
END;

-- The collections that matter to a search, where they are so few that a candidate's memberships are compared with them. NULL
-- where they are more: then each membership's collection is asked for. In a search of collections alone no others matter.
CREATE FUNCTION few_opened_collections(
    collection_ids uuid[], document_ids uuid[], everywhere boolean, grantees uuid[]
)
RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    few CONSTANT int := 100;
    opened uuid[] := ARRAY(
        SELECT opened_collections(collection_ids, everywhere OR cardinality(document_ids) > 0, grantees, few + 1)
    );
BEGIN
    RETURN CASE WHEN cardinality(opened) <= few THEN opened END;
END
$$;

-- The documents with this content, of those asked for, that the caller may search: theirs, granted, or in a collection that
-- is open to them (`opened`: all that are, or NULL). Without settings of its own, so that it becomes part of the statement
-- that asks: a call would take ten times the few looks into indexes that it is. OFFSET 0 keeps each of them what it is; the
-- planner would rather read all of the caller's grants first.
CREATE FUNCTION documents_to_search(
    blob uuid, collection_ids uuid[], document_ids uuid[], everywhere boolean, grantees uuid[], opened uuid[]
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
        OR (documents_to_search.opened IS NULL OR cardinality(documents_to_search.opened) > 0)
        AND EXISTS (
            SELECT
            FROM collection_documents AS m
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
                AND CASE
                    WHEN documents_to_search.opened IS NOT NULL
                        THEN m.collection_id = ANY(documents_to_search.opened)
                    ELSE EXISTS (
                        SELECT
                        FROM
                            opened_collections(ARRAY[m.collection_id], false, documents_to_search.grantees, 1)
                        OFFSET 0 -- noqa: AM09
                    )
                END
            OFFSET 0 -- noqa: AM09
        )
    );
-- noqa: enable=RF01
END;

-- The contents that the caller may search of these collections and documents, or everywhere. NULL where they reach more than
-- document_limit documents, those in the trash among them. Joined by indexes alone and by nobody else, whatever the planner
-- thinks: it reads no more of a table than it answers, and to start workers takes longer than that.
CREATE FUNCTION searchable_blobs(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    grantees uuid[],
    opened uuid[],
    document_limit int
)
RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    reached uuid[] := ARRAY(
        SELECT d.id FROM documents AS d
        WHERE everywhere AND d.tenant_id = current_tenant() AND d.owner_id = current_principal()
        UNION ALL
        SELECT g.document_id FROM grants AS g
        WHERE everywhere AND g.tenant_id = current_tenant() AND g.grantee_id = ANY(grantees)
          AND g.document_id IS NOT NULL AND 'search' = ANY(g.actions) AND is_live(g)
        UNION ALL
        SELECT m.document_id
        FROM (
            SELECT c.id FROM unnest(opened) AS c (id)
            UNION ALL
            SELECT c.id FROM opened_collections(collection_ids, everywhere, grantees, NULL) AS c (id) WHERE opened IS NULL
        ) AS c
        JOIN collection_documents AS m ON m.tenant_id = current_tenant() AND m.collection_id = c.id
        LEFT JOIN grants AS mg ON mg.tenant_id = m.tenant_id AND mg.id = m.grant_id
        WHERE (everywhere OR c.id = ANY(collection_ids))
          AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
        UNION ALL
        SELECT asked.id
        FROM document_versions AS v
        CROSS JOIN LATERAL documents_to_search(v.blob_id, '{}', document_ids, false, grantees, opened) AS asked (id)
        WHERE NOT everywhere AND v.tenant_id = current_tenant() AND v.document_id = ANY(document_ids)
        LIMIT document_limit + 1
    );
BEGIN
    IF cardinality(reached) > document_limit THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT v.blob_id
        FROM unnest(reached) AS r (id)
        JOIN documents AS d ON d.id = r.id AND d.deleted_at IS NULL AND NOT d.is_sealed
        JOIN document_versions AS v ON v.document_id = d.id AND v.number = d.current_version
        ORDER BY v.blob_id
    );
END
$$;

-- BM25 as in 0002. Where the caller may search more than document_limit documents the candidates are ranked first and asked
-- for in that order. A custom plan knows how many contents there are, and looks them up in a hash.
CREATE OR REPLACE FUNCTION search_lexical(
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
    opened uuid[];
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
    IF candidates IS NULL THEN
        RETURN;
    END IF;

    opened := few_opened_collections(collection_ids, document_ids, everywhere, grantees);
    blobs := searchable_blobs(collection_ids, document_ids, everywhere, grantees, opened, blob_limit);
    IF blobs IS NULL THEN
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
            SELECT FROM documents_to_search(ranked.blob_id, collection_ids, document_ids, everywhere, grantees, opened)
            OFFSET 0
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

-- Nearest passages by inner product of unit vectors. Up to exact_limit of them are compared one by one where the caller may
-- search at most blob_limit documents, which is quick to find out. Else the model's index is scanned on and each passage asked
-- for; where that ends with too few, what the caller may search is rare around there, and is compared one by one up to
-- exact_limit documents: of two in a hundred that is quicker than to scan on. Where it is more the index is scanned four times
-- as far.
CREATE OR REPLACE FUNCTION search_vector(
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
SET plan_cache_mode = force_custom_plan
SET hnsw.iterative_scan = 'relaxed_order'
SET hnsw.ef_search = 200
SET hnsw.max_scan_tuples = 5000
SET hnsw.scan_mem_multiplier = 8
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    model smallint := (
        SELECT m.id FROM embedding_models AS m WHERE m.name = model_name AND m.dimensions = vector_dims(query)
    );
    grantees uuid[] := current_grantees();
    opened uuid[] := few_opened_collections(collection_ids, document_ids, everywhere, grantees);
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
        blobs := searchable_blobs(collection_ids, document_ids, everywhere, grantees, opened, listed);
        IF blobs IS NOT NULL THEN
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
        -- The index is partial on the model and typed by its length, so both stand in the text of the statement.
        EXECUTE format(
            'SELECT coalesce(array_agg(n.chunk_id), ''{}''), array_agg(n.score) FROM ('
            'SELECT e.chunk_id, (-(e.embedding::halfvec(%1$s) <#> $1))::real AS score FROM chunk_embeddings AS e'
            ' WHERE e.tenant_id = current_tenant() AND e.model_id = %2$s'
            ' AND EXISTS (SELECT FROM documents_to_search(e.blob_id, $2, $3, $4, $5, $6) OFFSET 0)'
            ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $7) AS n',
            vector_dims(query), model
        ) INTO near, scores USING query, collection_ids, document_ids, everywhere, grantees, opened, row_limit;
        EXIT WHEN cardinality(near) = row_limit;
        PERFORM set_config('hnsw.max_scan_tuples', (4 * current_setting('hnsw.max_scan_tuples')::int)::text, true);
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(near, scores);
END
$$;

REVOKE ALL ON FUNCTION
    opened_collections(uuid[], boolean, uuid[], int),
    few_opened_collections(uuid[], uuid[], boolean, uuid[]),
    documents_to_search(uuid, uuid[], uuid[], boolean, uuid[], uuid[]),
    searchable_blobs(uuid[], uuid[], boolean, uuid[], uuid[], int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    opened_collections(uuid[], boolean, uuid[], int),
    few_opened_collections(uuid[], uuid[], boolean, uuid[]),
    documents_to_search(uuid, uuid[], uuid[], boolean, uuid[], uuid[]),
    searchable_blobs(uuid[], uuid[], boolean, uuid[], uuid[], int)
TO undercroft_search;

-- Searches with a filter: a predicate in SQL/JSON's path language over what is known of a document where it is found. It is
-- made by the service of what it has checked, and bound as a parameter. NULL is no filter, and costs nothing.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- What is known of a content, beside what it is.
CREATE POLICY search ON blobs FOR SELECT TO undercroft_search USING (true);
GRANT SELECT (id, media_type, byte_size) ON blobs TO undercroft_search;

DROP FUNCTION search_lexical(uuid[], uuid[], boolean, text, int, int, int);
DROP FUNCTION search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int);
DROP FUNCTION searchable_blobs(uuid, uuid, uuid[], uuid[], uuid[], boolean, uuid[], int);
DROP FUNCTION documents_to_search(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, uuid[]);

-- The memberships through which somebody finds a document that they may search, as far as they pass a filter: in the
-- collections that are searched and open to them, and no others, as what a filter tells of a document it tells of these.
-- Where there is none it is found by itself, without attributes. Beside its attributes a membership has keys that begin
-- with "undercroft.", which no attribute may. As documents_to_search, part of the statement that asks.
CREATE FUNCTION filtered_memberships(
    document uuid,
    tenant uuid,
    searcher uuid,
    grantees uuid[],
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    opened uuid[]
)
RETURNS TABLE (collection_id uuid, attributes jsonb)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01, ST05
SELECT
    f.collection_id,
    coalesce(f.attributes, '{}')
FROM documents AS d
INNER JOIN blobs AS b ON d.current_blob_id = b.id
LEFT JOIN LATERAL (
    SELECT
        m.collection_id,
        m.attributes
    FROM collection_documents AS m
    LEFT JOIN grants AS mg ON m.tenant_id = mg.tenant_id AND m.grant_id = mg.id
    WHERE
        m.tenant_id = filtered_memberships.tenant
        AND m.document_id = filtered_memberships.document
        AND (
            filtered_memberships.everywhere
            OR m.document_id = ANY(filtered_memberships.document_ids)
            OR m.collection_id = ANY(filtered_memberships.collection_ids)
        )
        AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
        AND CASE
            WHEN filtered_memberships.opened IS NOT NULL
                THEN m.collection_id = ANY(filtered_memberships.opened)
            ELSE EXISTS (
                SELECT
                FROM
                    opened_collections(
                        filtered_memberships.tenant,
                        filtered_memberships.searcher,
                        filtered_memberships.grantees,
                        ARRAY[m.collection_id],
                        false,
                        1
                    )
                OFFSET 0 -- noqa: AM09
            )
        END
    OFFSET 0 -- noqa: AM09
) AS f ON true
WHERE
    d.id = filtered_memberships.document
    AND d.tenant_id = filtered_memberships.tenant
    AND (
        coalesce(f.attributes, '{}')
        || jsonb_strip_nulls(
            jsonb_build_object(
                'undercroft.document', d.id,
                'undercroft.collection', f.collection_id,
                'undercroft.created_at', extract(EPOCH FROM d.created_at),
                'undercroft.media_type', b.media_type,
                'undercroft.byte_size', b.byte_size
            )
        )
    ) @@ filtered_memberships.filter;
-- noqa: enable=RF01, ST05
END;

-- As in 0058, and as far as they pass the filter.
CREATE FUNCTION documents_to_search(
    blob uuid,
    tenant uuid,
    searcher uuid,
    grantees uuid[],
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    opened uuid[]
)
RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT d.id
FROM documents AS d
WHERE
    d.tenant_id = documents_to_search.tenant
    AND d.current_blob_id = documents_to_search.blob
    AND d.deleted_at IS NULL
    AND NOT d.is_sealed
    AND (
        (documents_to_search.everywhere OR d.id = ANY(documents_to_search.document_ids))
        AND (
            d.owner_id = documents_to_search.searcher
            OR EXISTS (
                SELECT
                FROM grants AS g
                WHERE
                    g.tenant_id = documents_to_search.tenant
                    AND g.resource_id = d.id
                    AND g.document_id IS NOT NULL
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
                m.tenant_id = documents_to_search.tenant
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
                            opened_collections(
                                documents_to_search.tenant,
                                documents_to_search.searcher,
                                documents_to_search.grantees,
                                ARRAY[m.collection_id],
                                false,
                                1
                            )
                        OFFSET 0 -- noqa: AM09
                    )
                END
            OFFSET 0 -- noqa: AM09
        )
    )
    AND (
        documents_to_search.filter IS NULL
        OR EXISTS (
            SELECT
            FROM
                filtered_memberships(
                    d.id,
                    documents_to_search.tenant,
                    documents_to_search.searcher,
                    documents_to_search.grantees,
                    documents_to_search.collection_ids,
                    documents_to_search.document_ids,
                    documents_to_search.everywhere,
                    documents_to_search.filter,
                    documents_to_search.opened
                )
            OFFSET 0 -- noqa: AM09
        )
    );
-- noqa: enable=RF01
END;

-- As in 0058, and as far as they pass the filter. So many more are looked at for it, and no others than may be searched.
CREATE FUNCTION searchable_blobs(
    tenant uuid,
    searcher uuid,
    grantees uuid[],
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
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
    looked_at CONSTANT int := CASE WHEN filter IS NULL THEN document_limit ELSE 10 * document_limit END;
    reached uuid[] := ARRAY(
        SELECT d.id FROM documents AS d
        WHERE everywhere AND d.tenant_id = tenant AND d.owner_id BETWEEN searcher AND searcher
        UNION ALL
        SELECT g.resource_id FROM grants AS g
        WHERE everywhere AND g.tenant_id = tenant AND g.grantee_id = ANY(grantees)
          AND g.document_id IS NOT NULL AND 'search' = ANY(g.actions) AND is_live(g)
        UNION ALL
        SELECT m.document_id
        FROM (
            SELECT c.id FROM unnest(opened) AS c (id)
            UNION ALL
            SELECT c.id
            FROM opened_collections(tenant, searcher, grantees, collection_ids, everywhere, NULL) AS c (id)
            WHERE opened IS NULL
        ) AS c
        JOIN collection_documents AS m ON m.tenant_id = tenant AND m.collection_id = c.id
        LEFT JOIN grants AS mg ON mg.tenant_id = m.tenant_id AND mg.id = m.grant_id
        WHERE (everywhere OR c.id = ANY(collection_ids))
          AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
        UNION ALL
        SELECT asked.id
        FROM documents AS d
        CROSS JOIN LATERAL documents_to_search(
            d.current_blob_id, tenant, searcher, grantees, '{}', document_ids, false, NULL, opened
        ) AS asked (id)
        WHERE NOT everywhere AND d.tenant_id = tenant AND d.id = ANY(document_ids)
        LIMIT looked_at + 1
    );
BEGIN
    IF cardinality(reached) > looked_at THEN
        RETURN NULL;
    END IF;
    IF filter IS NOT NULL THEN
        reached := ARRAY(
            SELECT r.id FROM (SELECT DISTINCT unnest(reached)) AS r (id)
            WHERE EXISTS (
                SELECT FROM filtered_memberships(
                    r.id, tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened
                )
                OFFSET 0
            )
            LIMIT document_limit + 1
        );
        IF cardinality(reached) > document_limit THEN
            RETURN NULL;
        END IF;
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT d.current_blob_id
        FROM unnest(reached) AS r (id)
        JOIN documents AS d ON d.id = r.id AND d.deleted_at IS NULL AND NOT d.is_sealed
        WHERE d.current_blob_id IS NOT NULL
        ORDER BY d.current_blob_id
    );
END
$$;

-- As in 0058, with a filter.
CREATE FUNCTION search_lexical(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    query text,
    candidate_limit int,
    blob_limit int,
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan
SET max_parallel_workers_per_gather = 0
-- What is planned once it goes on with until its tables are analysed again: a plan that was made while they were empty would
-- read them through, for each document that is listed, after they have grown.
SET enable_seqscan = off
AS $$
DECLARE
    tenant uuid := current_tenant();
    searcher uuid := current_principal();
    grantees uuid[] := current_grantees();
    opened uuid[];
    blobs uuid[];
    candidates tsquery;
    weights sparsevec;
BEGIN
    WITH corpus AS (
        SELECT s.chunk_count, s.languages FROM corpus_statistics AS s WHERE s.tenant_id = tenant
    ), asked AS (
        -- In each language a word has another stem, and where it is a stop word none. None counts twice where they agree.
        SELECT w.lexeme, max(cardinality(w.positions)) AS occurrences
        FROM corpus
        CROSS JOIN unnest(corpus.languages) AS l (language)
        CROSS JOIN unnest(to_tsvector(l.language::regconfig, query)) AS w
        GROUP BY w.lexeme
    ), word AS (
        SELECT
            w.lexeme,
            w.occurrences,
            s.chunk_count AS frequency,
            ln(1 + (corpus.chunk_count - s.chunk_count + 0.5) / (s.chunk_count + 0.5)) AS rarity,
            sum(s.chunk_count) OVER (ORDER BY s.chunk_count, w.lexeme)
            - s.chunk_count AS frequencies_before
        FROM asked AS w
        JOIN term_statistics AS s ON s.tenant_id = tenant AND s.term = w.lexeme
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

    opened := few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere);
    blobs := searchable_blobs(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, blob_limit
    );
    PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
    IF blobs IS NULL THEN
        RETURN QUERY
        -- OFFSET 0 keeps the check from every candidate: it is asked in the order of the scores, until there are enough
        SELECT ranked.id, (-ranked.distance)::real
        FROM (
            SELECT c.id, c.blob_id, c.terms <#> weights AS distance FROM chunks AS c
            WHERE c.tenant_id = tenant AND c.lexemes @@ candidates
            ORDER BY distance, c.id
            OFFSET 0
        ) AS ranked
        WHERE EXISTS (
            SELECT FROM documents_to_search(
                ranked.blob_id,
                tenant,
                searcher,
                grantees,
                collection_ids,
                document_ids,
                everywhere,
                filter,
                opened
            )
            OFFSET 0
        )
        LIMIT row_limit;
    ELSE
        RETURN QUERY
        SELECT c.id, (-(c.terms <#> weights))::real
        FROM chunks AS c
        WHERE c.tenant_id = tenant AND c.lexemes @@ candidates AND c.blob_id = ANY(blobs)
        ORDER BY c.terms <#> weights, c.id
        LIMIT row_limit;
    END IF;
END
$$;

-- As in 0058, with a filter: what passes it is then what may be searched, and rare or not as that.
CREATE FUNCTION search_vector(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    model_name text,
    query halfvec,
    exact_limit int,
    blob_limit int,
    row_limit int
)
RETURNS TABLE (chunk_id bigint, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan
SET hnsw.iterative_scan = 'off'
SET hnsw.ef_search = 150
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
    asked int := greatest(current_setting('hnsw.ef_search')::int, least(3 * row_limit, 1000));
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
    FOREACH listed IN ARRAY ARRAY[least(blob_limit, exact_limit), exact_limit] LOOP
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

-- Of the documents with these passages those that the caller may search where the search looks, and that pass its filter
-- there; with the attributes that they pass it by. For the statement that authorises and reads.
CREATE FUNCTION filtered_documents(
    chunk_ids bigint[], collection_ids uuid[], document_ids uuid[], everywhere boolean, filter jsonpath
)
RETURNS TABLE (document_id uuid, attributes jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    tenant uuid := current_tenant();
    searcher uuid := current_principal();
    grantees uuid[] := current_grantees();
    opened uuid[] := few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere);
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (s.id) s.id, f.attributes
    FROM (SELECT DISTINCT c.blob_id FROM chunks AS c WHERE c.tenant_id = tenant AND c.id = ANY(chunk_ids)) AS b
    CROSS JOIN LATERAL documents_to_search(
        b.blob_id, tenant, searcher, grantees, collection_ids, document_ids, everywhere, NULL, opened
    ) AS s (id)
    CROSS JOIN LATERAL filtered_memberships(
        s.id, tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened
    ) AS f
    ORDER BY s.id, f.collection_id;
END
$$;

REVOKE ALL ON FUNCTION
    filtered_memberships(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[]),
    documents_to_search(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[]),
    searchable_blobs(uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[], int),
    search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int),
    search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int),
    filtered_documents(bigint[], uuid[], uuid[], boolean, jsonpath)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    filtered_memberships(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[]),
    documents_to_search(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[]),
    searchable_blobs(uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[], int)
TO undercroft_search;
GRANT EXECUTE ON FUNCTION
    search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int),
    search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int),
    filtered_documents(bigint[], uuid[], uuid[], boolean, jsonpath)
TO undercroft_app;

GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int) OWNER TO undercroft_search;
ALTER FUNCTION search_vector(uuid[], uuid[], boolean, jsonpath, text, halfvec, int, int, int) OWNER TO undercroft_search;
ALTER FUNCTION filtered_documents(bigint[], uuid[], uuid[], boolean, jsonpath) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

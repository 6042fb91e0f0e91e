-- A search that is as quick for whoever has many grants: what it asks of each document stands in indexes, so that neither
-- a list of the caller's documents nor a look at a candidate reads the tables' rows or joins a document with its versions;
-- the tenant and the caller are found out once; and what is listed is planned once for each connection.

-- Loads pgvector's library: its hnsw.* parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT vector_dims('[1]'::vector);

-- A million grants, or as many documents, take longer than a migration's five seconds.
SET LOCAL statement_timeout = '10min';

-- The content of the current version, which no statement sets by itself. NULL before a document has its first version.
ALTER TABLE documents ADD COLUMN current_blob_id uuid;
ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE document_versions NO FORCE ROW LEVEL SECURITY;
UPDATE documents AS d SET current_blob_id = v.blob_id
FROM document_versions AS v
WHERE v.document_id = d.id AND v.number = d.current_version;
ALTER TABLE document_versions FORCE ROW LEVEL SECURITY;
ALTER TABLE documents FORCE ROW LEVEL SECURITY;
-- Every row is another: until it is known how many there are, plans go astray.
ANALYZE documents;

CREATE FUNCTION find_current_blob() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.current_blob_id := (
        SELECT v.blob_id FROM document_versions AS v
        WHERE v.document_id = NEW.id AND v.number = NEW.current_version
    );
    RETURN NEW;
END
$$;
CREATE TRIGGER find_current_blob BEFORE INSERT OR UPDATE OF current_version, current_blob_id ON documents
FOR EACH ROW EXECUTE FUNCTION find_current_blob();

-- A document is there before its first version.
CREATE FUNCTION tell_current_blob() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE documents AS d SET current_blob_id = a.blob_id
    FROM added AS a WHERE d.id = a.document_id AND d.current_version = a.number;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_current_blob AFTER INSERT ON document_versions REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION tell_current_blob();

CREATE INDEX documents_by_content ON documents (tenant_id, current_blob_id) INCLUDE (id, owner_id)
WHERE deleted_at IS NULL AND NOT is_sealed;
CREATE INDEX documents_to_search ON documents (id) INCLUDE (current_blob_id)
WHERE deleted_at IS NULL AND NOT is_sealed;
CREATE INDEX grants_to_search ON grants (tenant_id, grantee_id, resource_id) INCLUDE (not_before, expires_at, purpose)
WHERE ended_at IS NULL AND document_id IS NOT NULL AND 'search' = ANY(actions);

DROP FUNCTION documents_to_search(uuid, uuid[], uuid[], boolean, uuid[], uuid[]);
DROP FUNCTION searchable_blobs(uuid[], uuid[], boolean, uuid[], uuid[], int);
DROP FUNCTION few_opened_collections(uuid[], uuid[], boolean, uuid[]);
DROP FUNCTION opened_collections(uuid[], boolean, uuid[], int);

-- The collections that somebody may search, of these or of all: theirs and granted, some twice; at most row_limit. An owner is
-- looked for between two that are the same: of one that it does not know yet the planner takes for granted that they own as
-- much as anybody does, and may read everybody's; of a range it thinks that it holds little.
CREATE FUNCTION opened_collections(
    tenant uuid, searcher uuid, grantees uuid[], collection_ids uuid[], all_of_them boolean, row_limit int
)
RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT c.id
FROM collections AS c
WHERE
    c.tenant_id = opened_collections.tenant
    AND c.owner_id BETWEEN opened_collections.searcher AND opened_collections.searcher
    AND (opened_collections.all_of_them OR c.id = ANY(opened_collections.collection_ids))
UNION ALL
SELECT g.collection_id
FROM grants AS g
WHERE
    g.tenant_id = opened_collections.tenant
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
    tenant uuid, searcher uuid, grantees uuid[], collection_ids uuid[], document_ids uuid[], everywhere boolean
)
RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    few CONSTANT int := 100;
    opened uuid[] := ARRAY(
        SELECT opened_collections(
            tenant, searcher, grantees, collection_ids, everywhere OR cardinality(document_ids) > 0, few + 1
        )
    );
BEGIN
    RETURN CASE WHEN cardinality(opened) <= few THEN opened END;
END
$$;

-- The documents with this content, of those asked for, that somebody may search: theirs, granted, or in a collection that
-- is open to them (`opened`: all that are, or NULL). Without settings of its own, so that it becomes part of the statement
-- that asks: a call would take ten times the few looks into indexes that it is. OFFSET 0 keeps each of them what it is; the
-- planner would rather read all of the caller's grants first.
CREATE FUNCTION documents_to_search(
    blob uuid,
    tenant uuid,
    searcher uuid,
    grantees uuid[],
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
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
    );
-- noqa: enable=RF01
END;

-- The contents that somebody may search of these collections and documents, or everywhere. NULL where they reach more than
-- document_limit documents, those in the trash among them. Joined by indexes alone and by nobody else, whatever the planner
-- thinks: it reads no more of a table than it answers, and to start workers takes longer than that.
CREATE FUNCTION searchable_blobs(
    tenant uuid,
    searcher uuid,
    grantees uuid[],
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
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
            d.current_blob_id, tenant, searcher, grantees, '{}', document_ids, false, opened
        ) AS asked (id)
        WHERE NOT everywhere AND d.tenant_id = tenant AND d.id = ANY(document_ids)
        LIMIT document_limit + 1
    );
BEGIN
    IF cardinality(reached) > document_limit THEN
        RETURN NULL;
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

-- BM25 as in 0002. Where the caller may search more than document_limit documents the candidates are ranked first and asked
-- for in that order. Planned once but for the candidates: that plan knows how frequent the words are and how many contents
-- there are, and looks those up in a hash.
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
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, opened, blob_limit
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
                ranked.blob_id, tenant, searcher, grantees, collection_ids, document_ids, everywhere, opened
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

-- Nearest passages by inner product of unit vectors. Up to exact_limit of them are compared one by one where the caller may
-- search at most blob_limit documents, which is quick to find out. Else the nearest of all in the model's index are asked for.
-- If enough of those may be searched, these are they. If fewer than one in twelve, what the caller may search is rare around
-- there: the index loses its way before it has found enough, and is slower than to compare one by one up to exact_limit
-- documents. In between, and where it is rare and more, the index is scanned on.
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
                tenant, searcher, grantees, collection_ids, document_ids, everywhere, opened, listed
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
            ' AND EXISTS (SELECT FROM documents_to_search(e.blob_id, $2, $3, $4, $5, $6, $7, $8) OFFSET 0)'
            ' ORDER BY e.embedding::halfvec(%1$s) <#> $1 LIMIT $9) AS n',
            vector_dims(query), model
        )
        INTO near, scores
        USING query, tenant, searcher, grantees, collection_ids, document_ids, everywhere, opened, row_limit;
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

REVOKE ALL ON FUNCTION
    opened_collections(uuid, uuid, uuid[], uuid[], boolean, int),
    few_opened_collections(uuid, uuid, uuid[], uuid[], uuid[], boolean),
    documents_to_search(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, uuid[]),
    searchable_blobs(uuid, uuid, uuid[], uuid[], uuid[], boolean, uuid[], int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    opened_collections(uuid, uuid, uuid[], uuid[], boolean, int),
    few_opened_collections(uuid, uuid, uuid[], uuid[], uuid[], boolean),
    documents_to_search(uuid, uuid, uuid, uuid[], uuid[], uuid[], boolean, uuid[]),
    searchable_blobs(uuid, uuid, uuid[], uuid[], uuid[], boolean, uuid[], int)
TO undercroft_search;

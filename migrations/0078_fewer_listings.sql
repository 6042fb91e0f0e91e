-- A search asks less of the database. What may be searched is listed first only where it is very little: to list a thousand
-- documents takes longer than to ask which of the best proposals may be searched, and to compare all their passages several
-- times as long. And what a leg asks brings its scope along, in one way there and back.

-- As enter_scope of two, for what grants are asked for.
CREATE FUNCTION enter_scope(tenant uuid, principal uuid, purpose text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM enter_scope(tenant, principal), set_config('undercroft.purpose', coalesce(purpose, ''), true);
END
$$;

REVOKE ALL ON FUNCTION enter_scope(uuid, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_scope(uuid, uuid, text) TO undercroft_app;

-- In which model's space each of these collections is searched, and single documents and everything (`with_tenant`): by the
-- tenant's choice, whatever collections a document is in. With its caller's rights.
CREATE FUNCTION search_spaces(collection_ids uuid[], with_tenant boolean)
RETURNS TABLE (model_name text, searched uuid[], is_of_tenant boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH asked AS (
        SELECT a.collection_id FROM unnest(collection_ids) AS a (collection_id)
        UNION ALL
        SELECT NULL WHERE with_tenant
    )
    SELECT m.name, array_remove(array_agg(a.collection_id), NULL), bool_or(a.collection_id IS NULL)
    FROM asked AS a
    LEFT JOIN embedding_choices AS own ON own.tenant_id = current_tenant() AND a.collection_id = own.collection_id
    LEFT JOIN embedding_choices AS general ON general.tenant_id = current_tenant() AND general.collection_id IS NULL
    JOIN embedding_models AS m
        ON m.id = coalesce(
            own.model_id,
            general.model_id,
            (SELECT d.id FROM embedding_models AS d WHERE d.is_default)
        )
    GROUP BY m.id
    ORDER BY m.id;
END
$$;

REVOKE ALL ON FUNCTION search_spaces(uuid[], boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_spaces(uuid[], boolean) TO undercroft_app;

-- As in 0073. Where more than a few documents may be searched, of the best passages with the words it is asked whether they may
-- be, before what may be is listed.
CREATE OR REPLACE FUNCTION search_lexical(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    query text,
    candidate_limit int,
    blob_limit int,
    row_limit int,
    demands jsonb DEFAULT NULL
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
    few_documents CONSTANT int := 200;
    -- The index of words has all tenants' passages, as many as were counted last. Where most are others', it is not looked
    -- through for the best: how often they use a word would be this one's work.
    is_mostly_own CONSTANT boolean := coalesce(
        4 * (SELECT s.chunk_count FROM corpus_statistics AS s WHERE s.tenant_id = tenant)
        >= (SELECT r.reltuples FROM pg_class AS r WHERE r.oid = 'chunks'::regclass),
        true
    );
    listed int;
    asked int := 10 * row_limit;
    total int;
    proposed bigint[];
    scores real[];
    candidates tsquery;
    every_word tsquery;
    weights sparsevec;
    languages text[];
    demanded tsquery[];
    excluded tsquery[];
    identifiers tsquery[];
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
            FROM word WHERE frequencies_before = 0 OR frequencies_before + frequency <= candidate_limit
        ),
        (SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', '|')::tsquery FROM word),
        (
            SELECT ('{' || string_agg(place || ':' || weight, ',' ORDER BY place) || '}/1000000000')::sparsevec
            FROM place
        )
    INTO candidates, every_word, weights;

    opened := few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere);
    listed := CASE WHEN candidates <> every_word OR NOT is_mostly_own THEN blob_limit ELSE least(few_documents, blob_limit) END;
    blobs := searchable_blobs(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, listed
    );
    -- Which words are too frequent to be looked up is a matter of the whole tenant's passages. Where the caller may search few
    -- all of them are ranked by all words, so that what is found does not depend on how often others use one.
    IF candidates <> every_word AND blobs IS NOT NULL AND candidate_limit >= (
        SELECT count(*) FROM (
            SELECT FROM chunks AS c WHERE c.tenant_id = tenant AND c.blob_id = ANY(blobs) LIMIT candidate_limit + 1
        ) AS reached
    ) THEN
        candidates := every_word;
    END IF;
    languages := (SELECT s.languages FROM corpus_statistics AS s WHERE s.tenant_id = tenant AND demands IS NOT NULL);
    IF cardinality(languages) > 0 THEN
        -- By the dictionary of each language, in their order.
        SELECT
            array_agg(words_demanded(l.language::regconfig, demands) ORDER BY l.place),
            array_agg(words_excluded(l.language::regconfig, demands) ORDER BY l.place),
            array_agg(words_of_identifiers(l.language::regconfig, demands) ORDER BY l.place)
        INTO demanded, excluded, identifiers
        FROM unnest(languages) WITH ORDINALITY AS l (language, place);
        IF array_position(demanded, NULL) IS NULL THEN
            -- What is demanded is rarer than its words. Some of it is a word of no passage, but the beginning of some.
            candidates := (SELECT string_agg('(' || d.words::text || ')', '|')::tsquery FROM unnest(demanded) AS d (words));
            weights := coalesce(weights, '{}/1000000000');
        END IF;
        demanded := nullif(demanded, array_fill(NULL::tsquery, ARRAY[cardinality(languages)]));
        excluded := nullif(excluded, array_fill(NULL::tsquery, ARRAY[cardinality(languages)]));
        identifiers := nullif(identifiers, array_fill(NULL::tsquery, ARRAY[cardinality(languages)]));
    END IF;
    IF candidates IS NULL THEN
        RETURN;
    END IF;

    -- Which of the two conditions on the tenant below holds is then known to the planner.
    IF NOT is_mostly_own THEN
        PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
    END IF;
    WHILE blobs IS NULL LOOP
        -- Where most are a tenant's own no index of tenants is used: in one it would look for the words row by row. Whether one
        -- may be searched is asked of the best, in their order, until there are enough.
        WITH ranked AS MATERIALIZED (
            SELECT
                c.id,
                c.blob_id,
                c.terms <#> weights AS distance,
                identifiers IS NOT NULL
                AND coalesce(c.lexemes @@ identifiers[array_position(languages, c.dictionary::text)], false)
                AND NOT EXISTS (SELECT FROM documents_shared_in_parts(c.blob_id, tenant, searcher) OFFSET 0) AS is_identified
            FROM chunks AS c
            WHERE
                c.lexemes @@ candidates
                AND CASE WHEN is_mostly_own THEN (c.tenant_id = tenant) IS TRUE ELSE c.tenant_id = tenant END
                AND (demanded IS NULL OR coalesce(c.lexemes @@ demanded[array_position(languages, c.dictionary::text)], true))
                AND (
                    excluded IS NULL
                    OR coalesce(NOT c.lexemes @@ excluded[array_position(languages, c.dictionary::text)], true)
                    OR EXISTS (SELECT FROM documents_shared_in_parts(c.blob_id, tenant, searcher) OFFSET 0)
                )
            ORDER BY is_identified DESC, distance, c.id
            LIMIT asked
        )
        SELECT (SELECT count(*) FROM ranked), coalesce(array_agg(f.id), '{}'), array_agg(f.score)
        INTO total, proposed, scores
        FROM (
            SELECT r.id, (-r.distance)::real AS score
            FROM ranked AS r
            WHERE EXISTS (
                SELECT FROM documents_to_search(
                    r.blob_id, tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened
                )
                OFFSET 0
            )
            LIMIT row_limit
        ) AS f;
        IF asked IS NULL OR total < asked OR cardinality(proposed) = row_limit THEN
            RETURN QUERY SELECT * FROM unnest(proposed, scores);
            RETURN;
        END IF;
        -- Few of the best may be searched.
        IF listed < blob_limit THEN
            blobs := searchable_blobs(
                tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, blob_limit
            );
        END IF;
        asked := NULL;
    END LOOP;

    PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
    RETURN QUERY
    SELECT c.id, (-(c.terms <#> weights))::real
    FROM chunks AS c
    WHERE
        c.tenant_id = tenant
        AND c.lexemes @@ candidates
        AND c.blob_id = ANY(blobs)
        AND (demanded IS NULL OR coalesce(c.lexemes @@ demanded[array_position(languages, c.dictionary::text)], true))
        AND (
            excluded IS NULL
            OR coalesce(NOT c.lexemes @@ excluded[array_position(languages, c.dictionary::text)], true)
            OR EXISTS (SELECT FROM documents_shared_in_parts(c.blob_id, tenant, searcher) OFFSET 0)
        )
    ORDER BY
        (
            identifiers IS NOT NULL
            AND coalesce(c.lexemes @@ identifiers[array_position(languages, c.dictionary::text)], false)
            AND NOT EXISTS (SELECT FROM documents_shared_in_parts(c.blob_id, tenant, searcher) OFFSET 0)
        ) DESC,
        c.terms <#> weights,
        c.id
    LIMIT row_limit;
END
$$;

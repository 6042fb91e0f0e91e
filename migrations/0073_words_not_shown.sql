-- What a search must not tell of words that its asker is not shown: of titles above the part of a document that is shared, and
-- how often others use a word.

-- The documents with this content that are somebody else's and of which parts are shared, with whomever. As documents_to_search,
-- part of the statement that asks.
CREATE FUNCTION documents_shared_in_parts(blob uuid, tenant uuid, searcher uuid)
RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT d.id
FROM documents AS d
WHERE
    d.tenant_id = documents_shared_in_parts.tenant
    AND d.current_blob_id = documents_shared_in_parts.blob
    AND d.deleted_at IS NULL
    AND NOT d.is_sealed
    AND d.owner_id <> documents_shared_in_parts.searcher
    AND EXISTS (
        SELECT
        FROM grants AS g
        WHERE
            g.tenant_id = documents_shared_in_parts.tenant
            AND g.resource_id = d.id
            AND num_nonnulls(g.pages, g.sections) > 0
            AND g.ended_at IS NULL
        OFFSET 0 -- noqa: AM09
    );
-- noqa: enable=RF01
END;

REVOKE ALL ON FUNCTION documents_shared_in_parts(uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION documents_shared_in_parts(uuid, uuid, uuid) TO undercroft_search;

-- As in 0065, with two differences. A word of a passage in a document that is shared in parts may stand in a title that the
-- caller is not shown: what is excluded from those, and which identifiers come first, is decided of what is shown by whoever
-- reads them. And where the caller may search few passages no word is too frequent.
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
    blobs := searchable_blobs(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, blob_limit
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

    PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
    IF blobs IS NULL THEN
        RETURN QUERY
        -- OFFSET 0 keeps the check from every candidate: it is asked in the order of the scores, until there are enough
        SELECT ranked.id, (-ranked.distance)::real
        FROM (
            SELECT c.id, c.blob_id, c.terms <#> weights AS distance FROM chunks AS c
            WHERE
                c.tenant_id = tenant
                AND c.lexemes @@ candidates
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
                distance,
                c.id
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
    END IF;
END
$$;

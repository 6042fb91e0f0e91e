-- What a query demands beyond its words: {"phrases": [], "prefixes": [], "excluded": [], "identifiers": []}, each of texts that
-- the program takes for such. Which words stand together tell the positions that the index has had from the beginning, so
-- nothing is indexed again.

-- The lexemes that begin so, and the stems that a word which begins so may have been taken to: electri* is to find
-- "electric", whose stem is "electr". Among these are others, so whoever reads the passages looks at their words.
CREATE FUNCTION words_from(prefix text)
RETURNS tsquery
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(begun.words || stems.words, begun.words)
    FROM (SELECT to_tsquery('simple', quote_literal(replace(prefix, '\', ' ')) || ':*') AS words) AS begun
    CROSS JOIN (
        SELECT string_agg(quote_literal(left(lower(prefix), cut)), '|')::tsquery AS words
        FROM generate_series(greatest(3, length(prefix) - 3), length(prefix) - 1) AS cut
        WHERE prefix ~ '^[[:alnum:]]+$'
    ) AS stems
$$;

-- What must be in a passage, by a dictionary; NULL where the dictionary leaves nothing of it.
CREATE FUNCTION words_demanded(dictionary regconfig, demands jsonb)
RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    wanted tsquery;
    piece text;
BEGIN
    FOR piece IN SELECT jsonb_array_elements_text(demands -> 'phrases') LOOP
        wanted := coalesce(wanted && phraseto_tsquery(dictionary, piece), phraseto_tsquery(dictionary, piece));
    END LOOP;
    FOR piece IN SELECT jsonb_array_elements_text(demands -> 'prefixes') LOOP
        wanted := coalesce(wanted && words_from(piece), words_from(piece));
    END LOOP;
    RETURN CASE WHEN numnode(wanted) > 0 THEN wanted END;
END
$$;

-- Any of what must not be in a passage.
CREATE FUNCTION words_excluded(dictionary regconfig, demands jsonb)
RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    unwanted tsquery;
    words tsquery;
    piece text;
BEGIN
    FOR piece IN SELECT jsonb_array_elements_text(demands -> 'excluded') LOOP
        words := CASE
            WHEN right(piece, 1) = '*'
                THEN to_tsquery('simple', quote_literal(rtrim(replace(piece, '\', ' '), '*')) || ':*')
            ELSE phraseto_tsquery(dictionary, piece)
        END;
        unwanted := coalesce(unwanted || words, words);
    END LOOP;
    RETURN CASE WHEN numnode(unwanted) > 0 THEN unwanted END;
END
$$;

-- Any of the identifiers whole: its parts, as the parser cuts it, one behind the other.
CREATE FUNCTION words_of_identifiers(dictionary regconfig, demands jsonb)
RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    whole tsquery;
    piece text;
BEGIN
    FOR piece IN SELECT jsonb_array_elements_text(demands -> 'identifiers') LOOP
        whole := coalesce(whole || phraseto_tsquery(dictionary, piece), phraseto_tsquery(dictionary, piece));
    END LOOP;
    RETURN CASE WHEN numnode(whole) > 0 THEN whole END;
END
$$;

REVOKE ALL ON FUNCTION
    words_from(text),
    words_demanded(regconfig, jsonb),
    words_excluded(regconfig, jsonb),
    words_of_identifiers(regconfig, jsonb)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    words_from(text),
    words_demanded(regconfig, jsonb),
    words_excluded(regconfig, jsonb),
    words_of_identifiers(regconfig, jsonb)
TO undercroft_search, undercroft_app;

DROP FUNCTION search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int);
-- As before, and what is demanded, if something is: passages that lack it or have what is excluded are not proposed, and those
-- with an identifier whole come first. Without demands its conditions fold away when it is planned.
CREATE FUNCTION search_lexical(
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
        (
            SELECT ('{' || string_agg(place || ':' || weight, ',' ORDER BY place) || '}/1000000000')::sparsevec
            FROM place
        )
    INTO candidates, weights;
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
            WHERE
                c.tenant_id = tenant
                AND c.lexemes @@ candidates
                AND (demanded IS NULL OR coalesce(c.lexemes @@ demanded[array_position(languages, c.dictionary::text)], true))
                AND (excluded IS NULL OR coalesce(NOT c.lexemes @@ excluded[array_position(languages, c.dictionary::text)], true))
            ORDER BY
                (
                    identifiers IS NOT NULL
                    AND coalesce(c.lexemes @@ identifiers[array_position(languages, c.dictionary::text)], false)
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
            AND (excluded IS NULL OR coalesce(NOT c.lexemes @@ excluded[array_position(languages, c.dictionary::text)], true))
        ORDER BY
            (
                identifiers IS NOT NULL
                AND coalesce(c.lexemes @@ identifiers[array_position(languages, c.dictionary::text)], false)
            ) DESC,
            c.terms <#> weights,
            c.id
        LIMIT row_limit;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int, jsonb)
TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_lexical(uuid[], uuid[], boolean, jsonpath, text, int, int, int, jsonb) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

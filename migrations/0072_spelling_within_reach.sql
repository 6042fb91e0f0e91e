-- Similar terms of what the caller may search, and of nothing else. Those of 0066 were the likest of the tenant's whole
-- vocabulary: words of documents that the caller may not read took the places of others, and so told that they are there.

-- Loads pg_trgm's library: its parameters are unknown, and so may not be set by an ordinary role, before that. A database
-- whose migrations up to here ran in an earlier session has not loaded it.
SELECT similarity('a', 'a');

DROP FUNCTION similar_terms(text[], int);

-- The terms that are like the stems of these words, the likest first, each of a passage in a document that the caller may
-- search where they search, and of the language by which the word has that stem. The arguments are those of search_lexical.
-- It decides no access: in a document that is shared in parts a term may stand in another part, so whoever asks looks for each
-- as the caller.
CREATE FUNCTION similar_terms(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    words text[],
    blob_limit int,
    most int
)
RETURNS TABLE (place int, lexeme text, term text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET pg_trgm.similarity_threshold = 0.25
SET plan_cache_mode = force_custom_plan
SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off
AS $$
DECLARE
    tenant uuid := current_tenant();
    searcher uuid := current_principal();
    grantees uuid[] := current_grantees();
    languages text[] := (SELECT s.languages FROM corpus_statistics AS s WHERE s.tenant_id = tenant);
    opened uuid[] := few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere);
    blobs uuid[] := searchable_blobs(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, blob_limit
    );
BEGIN
    RETURN QUERY
    SELECT w.place::int, alike.lexeme, alike.term
    FROM unnest(words) WITH ORDINALITY AS w (word, place)
    CROSS JOIN LATERAL (
        SELECT near.lexeme, near.term
        FROM (
            -- OFFSET 0 keeps the check from being made before the order: it is asked until there are enough.
            SELECT
                s.lexeme,
                s.languages,
                t.term,
                ('''' || replace(replace(t.term, '\', '\\'), '''', '''''') || '''')::tsquery AS found
            FROM (
                SELECT v.lexeme, array_agg(l.language) AS languages
                FROM unnest(languages) AS l (language)
                CROSS JOIN unnest(to_tsvector(l.language::regconfig, w.word)) AS v
                GROUP BY v.lexeme
            ) AS s
            JOIN term_statistics AS t ON t.tenant_id = tenant AND t.term % s.lexeme
            WHERE t.chunk_count > 0 AND abs(length(t.term) - length(s.lexeme)) <= 2
            ORDER BY similarity(t.term, s.lexeme) DESC, t.term, s.lexeme
            OFFSET 0
        ) AS near
        WHERE EXISTS (
            SELECT FROM chunks AS c
            WHERE
                c.tenant_id = tenant
                AND c.lexemes @@ near.found
                AND c.dictionary::text = ANY(near.languages)
                AND CASE
                    WHEN blobs IS NOT NULL THEN c.blob_id = ANY(blobs)
                    ELSE EXISTS (
                        SELECT FROM documents_to_search(
                            c.blob_id,
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
                END
            OFFSET 0
        )
        LIMIT most
    ) AS alike
    ORDER BY w.place, similarity(alike.term, alike.lexeme) DESC, alike.term, alike.lexeme;
END
$$;

REVOKE ALL ON FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

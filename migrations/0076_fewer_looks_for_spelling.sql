-- What a search that is corrected costs: 0072 looked for each similar term in the tenant's passages one after the other, as the
-- planner took a term for more frequent than most are, and whoever asked looked for each of the words before and after. Now
-- each is looked up in the index, one statement answers for all words, and tells for each term a passage that has it.

-- Loads pg_trgm's library: its parameters are unknown, and so may not be set by an ordinary role, before that. A database
-- whose migrations up to here ran in an earlier session has not loaded it.
SELECT similarity('a', 'a');

-- The passages with a word, in these languages, in documents that somebody may search where they search. The arguments are
-- those of documents_to_search, and the contents that it would find where they are listed. As that, part of the statement
-- that asks. The tenant is compared so that no index of it is: in that one would look for the word row by row.
CREATE FUNCTION passages_with_word(
    word tsquery,
    languages text[],
    tenant uuid,
    searcher uuid,
    grantees uuid[],
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    opened uuid[],
    blobs uuid[]
)
RETURNS TABLE (chunk_id bigint, blob_id uuid)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT
    c.id,
    c.blob_id
FROM chunks AS c
WHERE
    c.lexemes @@ passages_with_word.word
    AND (c.tenant_id = passages_with_word.tenant) IS TRUE
    AND c.dictionary::text = ANY(passages_with_word.languages)
    AND CASE
        WHEN passages_with_word.blobs IS NOT NULL THEN c.blob_id IN (SELECT unnest(passages_with_word.blobs))
        ELSE EXISTS (
            SELECT
            FROM
                documents_to_search(
                    c.blob_id,
                    passages_with_word.tenant,
                    passages_with_word.searcher,
                    passages_with_word.grantees,
                    passages_with_word.collection_ids,
                    passages_with_word.document_ids,
                    passages_with_word.everywhere,
                    passages_with_word.filter,
                    passages_with_word.opened
                )
            OFFSET 0 -- noqa: AM09
        )
    END;
-- noqa: enable=RF01
END;

REVOKE ALL ON FUNCTION passages_with_word(
    tsquery, text[], uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[], uuid[]
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION passages_with_word(
    tsquery, text[], uuid, uuid, uuid[], uuid[], uuid[], boolean, jsonpath, uuid[], uuid[]
) TO undercroft_search;

DROP FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int);

-- Of these words those that stand in a passage of a document that the caller may search as a whole are known: of each there is
-- one row. Of the others, the terms that are like their stems, the likest first, each with a passage that has it, in a document
-- that the caller may search where they search, and of the language by which the word has that stem. The arguments are those of
-- search_lexical. It decides no access: in a document that is shared in parts a term may stand in another part, so whoever asks
-- reads each passage as the caller.
CREATE FUNCTION similar_terms(
    collection_ids uuid[],
    document_ids uuid[],
    everywhere boolean,
    filter jsonpath,
    words text[],
    blob_limit int,
    most int
)
RETURNS TABLE (place int, lexeme text, term text, is_known boolean, chunk_id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET pg_trgm.similarity_threshold = 0.25
SET plan_cache_mode = force_generic_plan
SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off
AS $$
DECLARE
    tenant uuid := current_tenant();
    searcher uuid := current_principal();
    grantees uuid[] := current_grantees();
    spoken text[] := (SELECT s.languages FROM corpus_statistics AS s WHERE s.tenant_id = tenant);
    opened uuid[] := few_opened_collections(tenant, searcher, grantees, collection_ids, document_ids, everywhere);
    blobs uuid[] := searchable_blobs(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, blob_limit
    );
BEGIN
    RETURN QUERY
    WITH stem AS MATERIALIZED (
        SELECT
            w.place::int AS place,
            v.lexeme,
            array_agg(l.language) AS languages,
            ('''' || replace(replace(v.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS found
        FROM unnest(words) WITH ORDINALITY AS w (word, place)
        CROSS JOIN unnest(spoken) AS l (language)
        CROSS JOIN unnest(to_tsvector(l.language::regconfig, w.word)) AS v
        GROUP BY w.place, v.lexeme
    ), known AS MATERIALIZED (
        SELECT DISTINCT ON (s.place) s.place, s.lexeme, p.chunk_id
        FROM stem AS s
        CROSS JOIN LATERAL (
            SELECT p.chunk_id
            FROM passages_with_word(
                s.found,
                spoken,
                tenant,
                searcher,
                grantees,
                collection_ids,
                document_ids,
                everywhere,
                filter,
                opened,
                blobs
            ) AS p
            WHERE NOT EXISTS (SELECT FROM documents_shared_in_parts(p.blob_id, tenant, searcher) OFFSET 0)
            LIMIT 1
        ) AS p
        ORDER BY s.place
    )
    SELECT k.place, k.lexeme, k.lexeme, true, k.chunk_id FROM known AS k
    UNION ALL
    (
        SELECT u.place, alike.lexeme, alike.term, false, alike.chunk_id
        FROM (SELECT DISTINCT s.place FROM stem AS s WHERE s.place NOT IN (SELECT k.place FROM known AS k)) AS u
        CROSS JOIN LATERAL (
            SELECT near.lexeme, near.term, p.chunk_id
            FROM (
                -- OFFSET 0 keeps the check from being made before the order: it is asked until there are enough.
                SELECT
                    s.lexeme,
                    s.languages,
                    t.term,
                    ('''' || replace(replace(t.term, '\', '\\'), '''', '''''') || '''')::tsquery AS found
                FROM stem AS s
                JOIN term_statistics AS t ON t.tenant_id = tenant AND t.term % s.lexeme
                WHERE s.place = u.place AND t.chunk_count > 0 AND abs(length(t.term) - length(s.lexeme)) <= 2
                ORDER BY similarity(t.term, s.lexeme) DESC, t.term, s.lexeme
                OFFSET 0
            ) AS near
            CROSS JOIN LATERAL (
                SELECT p.chunk_id
                FROM passages_with_word(
                    near.found,
                    near.languages,
                    tenant,
                    searcher,
                    grantees,
                    collection_ids,
                    document_ids,
                    everywhere,
                    filter,
                    opened,
                    blobs
                ) AS p
                LIMIT 1
            ) AS p
            LIMIT most
        ) AS alike
        ORDER BY u.place, similarity(alike.term, alike.lexeme) DESC, alike.term, alike.lexeme
    );
END
$$;

REVOKE ALL ON FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION similar_terms(uuid[], uuid[], boolean, jsonpath, text[], int, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

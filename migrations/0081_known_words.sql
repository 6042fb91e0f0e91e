-- What a search takes the database that there is nothing to find by.

-- What was added to the index of words since it was last put in order is read from one end to the other for each word that is
-- looked up, of up to 4 MB by PostgreSQL's own measure. With so much less, of kilobytes, a passage takes .1 ms more to be written.
ALTER INDEX chunks_by_lexeme SET (gin_pending_list_limit = 256);

-- Whether the words that no passage of an answer has stand elsewhere is found among the first passages with each, where that
-- tells: to list up to 2,000 documents took longer than all else that was asked of them, mostly for words that are no mistakes.

-- Loads pg_trgm's library: its parameters are unknown, and so may not be set by an ordinary role, before that.
SELECT similarity('a', 'a');

-- As in 0076. The arguments are the same: processes that run meanwhile go on with it.
CREATE OR REPLACE FUNCTION similar_terms(
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
    few_documents CONSTANT int := least(blob_limit, 200);
    first_passages CONSTANT int := 20;
    blobs uuid[] := searchable_blobs(
        tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, few_documents
    );
    -- How many passages with a word are looked at: all, where what may be searched is listed.
    looked_at int := CASE WHEN blobs IS NULL AND few_documents < blob_limit THEN first_passages END;
BEGIN
    LOOP
        FOR place, lexeme, chunk_id IN
            SELECT DISTINCT ON (s.place) s.place, s.lexeme, p.id
            FROM (
                SELECT
                    w.place::int AS place,
                    v.lexeme,
                    ('''' || replace(replace(v.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS found
                FROM unnest(words) WITH ORDINALITY AS w (word, place)
                CROSS JOIN unnest(spoken) AS l (language)
                CROSS JOIN unnest(to_tsvector(l.language::regconfig, w.word)) AS v
                GROUP BY w.place, v.lexeme
            ) AS s
            CROSS JOIN LATERAL (
                SELECT c.id
                FROM (
                    SELECT c.id, c.blob_id
                    FROM chunks AS c
                    WHERE
                        c.lexemes @@ s.found
                        AND (c.tenant_id = tenant) IS TRUE
                        AND c.dictionary::text = ANY(spoken)
                    LIMIT looked_at
                ) AS c
                WHERE
                    CASE
                        WHEN blobs IS NOT NULL THEN c.blob_id IN (SELECT unnest(blobs))
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
                    AND NOT EXISTS (SELECT FROM documents_shared_in_parts(c.blob_id, tenant, searcher) OFFSET 0)
                LIMIT 1
            ) AS p
            ORDER BY s.place
        LOOP
            term := lexeme;
            is_known := true;
            RETURN NEXT;
            words[place] := NULL;
        END LOOP;
        IF array_remove(words, NULL) = '{}' THEN
            RETURN;
        END IF;
        EXIT WHEN looked_at IS NULL;
        looked_at := NULL;
        blobs := searchable_blobs(
            tenant, searcher, grantees, collection_ids, document_ids, everywhere, filter, opened, blob_limit
        );
    END LOOP;
    RETURN QUERY
    WITH stem AS MATERIALIZED (
        SELECT
            w.place::int AS place,
            v.lexeme,
            array_agg(l.language) AS languages
        FROM unnest(words) WITH ORDINALITY AS w (word, place)
        CROSS JOIN unnest(spoken) AS l (language)
        CROSS JOIN unnest(to_tsvector(l.language::regconfig, w.word)) AS v
        GROUP BY w.place, v.lexeme
    )
    SELECT u.place, alike.lexeme, alike.term, false, alike.chunk_id
    FROM (SELECT DISTINCT s.place FROM stem AS s) AS u
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
    ORDER BY u.place, similarity(alike.term, alike.lexeme) DESC, alike.term, alike.lexeme;
END
$$;

-- Words are taken to their stems by the dictionary of the language that their document is in. A query's words are looked up
-- in each language that the tenant has passages in.

-- Without its constraint at first: with it, to add the column would be to write every passage anew.
CREATE DOMAIN search_dictionary AS text;
-- So far all was taken for English. What is in another language is in its own from when it is indexed again.
ALTER TABLE chunks ADD COLUMN dictionary search_dictionary NOT NULL DEFAULT 'english';
-- Of what comes; what is there is English, and need not be read to know it.
ALTER DOMAIN search_dictionary ADD CHECK (value IN (
    'arabic', 'armenian', 'basque', 'catalan', 'danish', 'dutch', 'english', 'finnish', 'french', 'german', 'greek',
    'hindi', 'hungarian', 'indonesian', 'irish', 'italian', 'lithuanian', 'nepali', 'norwegian', 'portuguese',
    'romanian', 'russian', 'serbian', 'simple', 'spanish', 'swedish', 'tamil', 'turkish'
)) NOT VALID;

-- Kept by the triggers, as the counts are. One is forgotten with the last passage of all, not before.
ALTER TABLE corpus_statistics ADD COLUMN languages text[] NOT NULL DEFAULT '{}';
UPDATE corpus_statistics SET languages = '{english}' WHERE chunk_count > 0;

-- As in 0002, and the languages.
CREATE OR REPLACE FUNCTION count_added_chunks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO corpus_statistics AS s (tenant_id, chunk_count, term_total, weighted_average, languages)
    SELECT
        a.tenant_id, count(*), sum(term_count(a.lexemes)), avg(term_count(a.lexemes))::real,
        array_agg(DISTINCT a.dictionary::text)
    FROM added AS a GROUP BY a.tenant_id
    ON CONFLICT (tenant_id) DO UPDATE SET
        chunk_count = s.chunk_count + excluded.chunk_count,
        term_total = s.term_total + excluded.term_total,
        weighted_average = CASE WHEN s.chunk_count = 0 THEN excluded.weighted_average ELSE s.weighted_average END,
        languages = CASE
            WHEN s.chunk_count = 0 THEN excluded.languages
            WHEN s.languages @> excluded.languages THEN s.languages
            ELSE ARRAY(SELECT DISTINCT l FROM unnest(s.languages || excluded.languages) AS l ORDER BY l)
        END;

    INSERT INTO term_statistics AS s (tenant_id, term, chunk_count)
    SELECT a.tenant_id, word.lexeme, count(*)
    FROM added AS a CROSS JOIN unnest(a.lexemes) AS word
    GROUP BY a.tenant_id, word.lexeme
    ON CONFLICT (tenant_id, term) DO UPDATE SET chunk_count = s.chunk_count + excluded.chunk_count;
    RETURN NULL;
END
$$;

-- As before, but for where a query's words come from.
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

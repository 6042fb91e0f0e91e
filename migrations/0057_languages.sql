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

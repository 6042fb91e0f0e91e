-- Terms of a tenant that are written alike, for words of a query that occur nowhere.

-- Both come with PostgreSQL and are trusted: the database's owner may create them.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;

-- Room on each page for the counts' updates: these then write to no index. Measured with 80,000 terms it takes back what the
-- index below costs when chunks come.
ALTER TABLE term_statistics SET (fillfactor = 70);

-- Some seconds for a vocabulary of 100,000 terms. Searches go on meanwhile; what is indexed waits.
SET LOCAL statement_timeout = '10min';
-- With the tenant, so that the cost of one tenant's mistakes tells nothing of the vocabulary of others.
CREATE INDEX term_statistics_alike ON term_statistics USING gin (tenant_id, term gin_trgm_ops);
SET LOCAL statement_timeout = '5s';

-- The tenant's terms that are like the stems of these words, the likest first. It decides no access: whoever asks finds out
-- for each whether the caller may search a passage that has it.
CREATE FUNCTION similar_terms(words text[], most int)
RETURNS TABLE (place int, lexeme text, term text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET pg_trgm.similarity_threshold = 0.25
SET enable_seqscan = off
AS $$
DECLARE
    tenant uuid := current_tenant();
    languages text[] := (SELECT s.languages FROM corpus_statistics AS s WHERE s.tenant_id = tenant);
BEGIN
    RETURN QUERY
    SELECT w.place::int, alike.lexeme, alike.term
    FROM unnest(words) WITH ORDINALITY AS w (word, place)
    CROSS JOIN LATERAL (
        SELECT s.lexeme, t.term
        FROM (
            SELECT DISTINCT v.lexeme
            FROM unnest(languages) AS l (language)
            CROSS JOIN unnest(to_tsvector(l.language::regconfig, w.word)) AS v
        ) AS s
        JOIN term_statistics AS t ON t.tenant_id = tenant AND t.term % s.lexeme
        WHERE t.chunk_count > 0 AND abs(length(t.term) - length(s.lexeme)) <= 2
        ORDER BY similarity(t.term, s.lexeme) DESC, t.term
        LIMIT most
    ) AS alike
    ORDER BY w.place, similarity(alike.term, alike.lexeme) DESC, alike.term;
END
$$;

REVOKE ALL ON FUNCTION similar_terms(text[], int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION similar_terms(text[], int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION similar_terms(text[], int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

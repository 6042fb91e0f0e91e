-- BM25 with k1 = 1.6 in place of 1.2. Passages are shorter than the documents that 1.2 is known to suit, so a word that
-- comes again tells more; docs/search.md has the figures.
CREATE OR REPLACE FUNCTION bm25_weights(lexemes tsvector, average_length real) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH term AS (
        SELECT term_position(lexeme) AS place, sum(cardinality(positions))::real AS frequency
        FROM unnest(lexemes) GROUP BY 1
    ), total AS (
        SELECT coalesce(sum(frequency), 0) AS length FROM term
    )
    SELECT (
        '{' || coalesce(string_agg(
            place || ':' || (
                frequency * 2.6
                / (frequency + 1.6 * (0.25 + 0.75 * length / greatest(average_length, 1)))
            )::real,
            ',' ORDER BY place
        ), '') || '}/1000000000'
    )::sparsevec
    FROM term, total
$$;

-- By which formula all of a tenant's passages are weighted; 0 while they are weighted again, until the last of them is. Those
-- of before are weighted again with the next that is indexed: until then they are all of the former one, and comparable with
-- each other.
ALTER TABLE corpus_statistics ADD COLUMN formula smallint NOT NULL DEFAULT 1;
ALTER TABLE corpus_statistics ALTER COLUMN formula SET DEFAULT 2;

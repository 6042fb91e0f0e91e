-- What a search has planned once it goes on with until its tables are analysed again: a plan that was made while they were
-- empty would read them through, for each document that is listed, after they have grown.
ALTER FUNCTION search_lexical(uuid[], uuid[], boolean, text, int, int, int) SET enable_seqscan = off;
ALTER FUNCTION search_vector(uuid[], uuid[], boolean, text, halfvec, int, int, int) SET enable_seqscan = off;

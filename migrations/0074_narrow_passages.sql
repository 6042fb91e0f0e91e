-- To rank is to read a few numbers of very many passages: what else a passage has is stored beside the table, so that a page
-- holds twice as many. Of the rows that are there it holds from when they are written anew.

-- Encrypted, it cannot be compressed.
ALTER TABLE chunks ALTER COLUMN sealed_text SET STORAGE EXTERNAL;
-- In the row, as what is stored beside it is another look-up for each candidate.
ALTER TABLE chunks ALTER COLUMN terms SET STORAGE MAIN;
-- Bytes that a row is to have at most, above what the weights of the longest passages take.
ALTER TABLE chunks SET (toast_tuple_target = 1600);

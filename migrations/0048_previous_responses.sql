-- Responses that go on from another one.

-- The response before; NULL for the first one, and once that was deleted: then the chain begins here. Whoever begins a
-- response holds the one before until its row is there; so a deletion comes before, and there is nothing to go on from, or
-- after, and finds this row.
ALTER TABLE responses
ADD COLUMN previous_id uuid,
ADD FOREIGN KEY (tenant_id, previous_id) REFERENCES responses (tenant_id, id) ON DELETE SET NULL (previous_id);
CREATE INDEX responses_by_previous ON responses (tenant_id, previous_id, id) WHERE previous_id IS NOT NULL;

-- A response that is deleted changes those that go on from it, in the order of the index that finds them; whoever erases
-- some of them (erase_response) locks them by id. Without this each could hold what the other waits for.
CREATE FUNCTION lock_next_before_delete() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM responses AS r
    WHERE r.tenant_id = old.tenant_id AND r.previous_id = old.id ORDER BY r.id FOR NO KEY UPDATE;
    RETURN old;
END
$$;
REVOKE ALL ON FUNCTION lock_next_before_delete() FROM PUBLIC;
CREATE TRIGGER lock_next_before_delete BEFORE DELETE ON responses
FOR EACH ROW EXECUTE FUNCTION lock_next_before_delete();

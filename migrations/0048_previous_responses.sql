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

-- A response and those before it, the last one first, as far back as that.
CREATE FUNCTION chain_of_response(wanted uuid, most int) RETURNS TABLE (id uuid, place int)
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE chain (id, previous_id, place) AS (
        SELECT r.id, r.previous_id, 1 FROM responses AS r WHERE r.id = wanted
        UNION ALL
        SELECT r.id, r.previous_id, c.place + 1
        FROM chain AS c
        JOIN responses AS r ON c.previous_id = r.id
        WHERE c.place < most
    )
    SELECT c.id, c.place FROM chain AS c
$$;

-- Each document version that a response was made from, whether it is the caller's, and the ways in which they may read it.
CREATE FUNCTION sources_of_response(wanted uuid) RETURNS jsonb[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT ARRAY(
        SELECT jsonb_build_object(
            'document', s.document_id,
            'is_own', EXISTS (
                SELECT FROM documents AS d WHERE d.id = s.document_id AND d.owner_id = current_principal()
            ),
            'ways', ways_to_source(s.document_id, s.document_version)
        )
        FROM (
            SELECT DISTINCT p.document_id, p.document_version
            FROM response_passages AS p
            WHERE p.response_id = wanted
        ) AS s
    )
$$;
REVOKE ALL ON FUNCTION chain_of_response(uuid, int), sources_of_response(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chain_of_response(uuid, int), sources_of_response(uuid) TO undercroft_app;

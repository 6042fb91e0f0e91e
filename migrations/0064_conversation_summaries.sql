-- What was said at the beginning of a conversation, summed up for whom a model answers there: a response of theirs that stands
-- for the items of its branch up to that number. It is made in the background, and rests on what those items were made from.
CREATE TABLE conversation_summaries (
    tenant_id uuid NOT NULL,
    response_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    through_number int NOT NULL CHECK (through_number >= 0),
    -- Whether a client has added something to what it sums up of which nobody knows what it was made from. Found out when its
    -- model is asked.
    is_untraced boolean NOT NULL DEFAULT TRUE,
    PRIMARY KEY (tenant_id, response_id),
    FOREIGN KEY (tenant_id, response_id) REFERENCES responses (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX conversation_summaries_by_conversation
ON conversation_summaries (tenant_id, conversation_id, through_number);

ALTER TABLE conversation_summaries ENABLE ROW LEVEL SECURITY;
ALTER TABLE conversation_summaries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON conversation_summaries TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE (is_untraced) ON conversation_summaries TO undercroft_app;

-- A summary goes with its conversation. Items come before it there (lock_items_before_delete), as they do where a document is
-- erased that both were made from.
CREATE FUNCTION delete_summary() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM responses WHERE tenant_id = old.tenant_id AND id = old.response_id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_summary() FROM PUBLIC;
CREATE TRIGGER delete_summary AFTER DELETE ON conversation_summaries FOR EACH ROW EXECUTE FUNCTION delete_summary();

-- It may repeat each item before it: whoever deletes one deletes what was summed up of it, on every branch.
CREATE FUNCTION delete_summaries_of_item() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM responses AS r
    WHERE r.id IN (
        SELECT o.id
        FROM responses AS o
        JOIN conversation_summaries AS s ON o.tenant_id = s.tenant_id AND o.id = s.response_id
        WHERE s.tenant_id = new.tenant_id
          AND s.conversation_id = new.conversation_id
          AND s.through_number >= new.number
        ORDER BY o.id
        FOR UPDATE OF o
    );
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_summaries_of_item() FROM PUBLIC;
CREATE TRIGGER delete_summaries AFTER UPDATE OF ending ON conversation_items
FOR EACH ROW WHEN (new.ending = 'deleted') EXECUTE FUNCTION delete_summaries_of_item();

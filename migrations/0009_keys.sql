-- Destroying a tenant's key, whatever the size of its index; and what the ledger still lacked.

-- Once a tenant's key is destroyed its index must not go on telling words. A statement that deletes all of a large index
-- runs into every time limit, so whoever destroys the key deletes in batches, in the same transaction; what they leave,
-- if anything, goes with the commit.
DROP TRIGGER delete_index ON tenant_keys;
CREATE CONSTRAINT TRIGGER delete_index AFTER UPDATE OF wrapped_key ON tenant_keys
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (new.is_current AND new.wrapped_key IS NULL) EXECUTE FUNCTION delete_tenant_index();

-- A legal hold wins over this erasure as over every other.
CREATE FUNCTION refuse_held_tenant() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM documents AS d WHERE d.tenant_id = new.tenant_id AND d.held_at IS NOT NULL) THEN
        RAISE EXCEPTION 'documents of the tenant are under legal hold' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN new;
END
$$;
REVOKE ALL ON FUNCTION refuse_held_tenant() FROM PUBLIC;
CREATE INDEX documents_held ON documents (tenant_id) WHERE held_at IS NOT NULL;
CREATE TRIGGER refuse_held BEFORE UPDATE OF wrapped_key ON tenant_keys
FOR EACH ROW WHEN (old.wrapped_key IS NOT NULL AND new.wrapped_key IS NULL AND new.is_current)
EXECUTE FUNCTION refuse_held_tenant();

-- The statistics go first and as a whole: kept up to date batch by batch, each term would be written once for each batch.
CREATE FUNCTION delete_tenant_statistics() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM corpus_statistics WHERE tenant_id = new.tenant_id;
    DELETE FROM term_statistics WHERE tenant_id = new.tenant_id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_tenant_statistics() FROM PUBLIC;
CREATE TRIGGER delete_statistics AFTER UPDATE OF wrapped_key ON tenant_keys
FOR EACH ROW WHEN (new.is_current AND new.wrapped_key IS NULL) EXECUTE FUNCTION delete_tenant_statistics();

-- Deletes a tenant's next chunks behind the given one. Answers the last of them, nothing when there were none. Embeddings
-- first: one statement for all of them instead of one for each that the foreign key would run. By id and not by LIMIT
-- alone: what this transaction has deleted stays in the indexes until it ends, and each batch would wade through it.
CREATE FUNCTION delete_index_batch(after bigint, row_limit int) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    last bigint;
BEGIN
    SELECT max(batch.id) INTO last FROM (
        SELECT c.id FROM chunks AS c WHERE c.tenant_id = current_tenant() AND c.id > after ORDER BY c.id LIMIT row_limit
    ) AS batch;
    DELETE FROM chunk_embeddings WHERE tenant_id = current_tenant() AND chunk_id > after AND chunk_id <= last;
    DELETE FROM chunks WHERE tenant_id = current_tenant() AND id > after AND id <= last;
    RETURN last;
END
$$;
REVOKE ALL ON FUNCTION delete_index_batch(bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delete_index_batch(bigint, int) TO undercroft_app;

-- As before, but in time that goes with what is removed; and nothing to count for a tenant whose statistics are gone with
-- its key.
CREATE OR REPLACE FUNCTION count_removed_chunks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM corpus_statistics AS s WHERE s.tenant_id IN (SELECT r.tenant_id FROM removed AS r)
    ) THEN
        RETURN NULL;
    END IF;

    UPDATE corpus_statistics AS s
    SET chunk_count = s.chunk_count - gone.chunk_count, term_total = s.term_total - gone.term_total
    FROM (
        SELECT r.tenant_id, count(*) AS chunk_count, sum(term_count(r.lexemes)) AS term_total
        FROM removed AS r GROUP BY r.tenant_id
    ) AS gone
    WHERE s.tenant_id = gone.tenant_id;

    -- A term that no chunk holds any more is not kept: the vocabulary must not remember a deleted document. Before the
    -- others are counted down: "those that are at zero" are none as far as the planner knows, and it would look through
    -- all removed terms again for each of them.
    DELETE FROM term_statistics AS s
    USING (
        SELECT r.tenant_id, word.lexeme, count(*) AS chunk_count
        FROM removed AS r CROSS JOIN unnest(r.lexemes) AS word
        GROUP BY r.tenant_id, word.lexeme
    ) AS gone
    WHERE s.tenant_id = gone.tenant_id AND s.term = gone.lexeme AND s.chunk_count <= gone.chunk_count;

    UPDATE term_statistics AS s SET chunk_count = s.chunk_count - gone.chunk_count
    FROM (
        SELECT r.tenant_id, word.lexeme, count(*) AS chunk_count
        FROM removed AS r CROSS JOIN unnest(r.lexemes) AS word
        GROUP BY r.tenant_id, word.lexeme
    ) AS gone
    WHERE s.tenant_id = gone.tenant_id AND s.term = gone.lexeme;
    RETURN NULL;
END
$$;

-- The ledger ----------------------------------------------------------------------------------------------------------

-- The ledger names the tenant itself, whose keys and audit are acted on, as it does everything: with a salt.
ALTER TABLE ledger_logs ADD COLUMN salt bytea NOT NULL
DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) CHECK (octet_length(salt) = 32);

-- For a rotation of the signing key, which must not give up as a sequencer does. lock_ledger then shows, with the snapshot
-- of a later statement, what was awaited.
CREATE FUNCTION wait_for_ledger() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT FROM ledger_logs WHERE tenant_id = current_tenant() FOR NO KEY UPDATE $$;
REVOKE ALL ON FUNCTION wait_for_ledger() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wait_for_ledger() TO undercroft_app;

-- For readiness and metrics: how far numbering is behind, over all tenants but those whose logs cannot be signed.
CREATE FUNCTION find_oldest_pending_entry(ignored uuid[]) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT min(occurred_at) FROM ledger_pending WHERE tenant_id <> ALL(ignored) $$;
REVOKE ALL ON FUNCTION find_oldest_pending_entry(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_oldest_pending_entry(uuid[]) TO undercroft_app;

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION delete_tenant_statistics() OWNER TO undercroft_system;
ALTER FUNCTION find_oldest_pending_entry(uuid[]) OWNER TO undercroft_system;
ALTER FUNCTION wait_for_ledger() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

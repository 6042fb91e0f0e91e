-- Documents that are edited, sealed, put into the trash and held; receipts of their versions; answers that go with their
-- sources.

-- revision is what an ETag names: it grows with every change of the document, whoever makes it.
ALTER TABLE documents
ADD COLUMN revision bigint NOT NULL DEFAULT 1 CHECK (revision >= 1),
ADD COLUMN is_sealed boolean NOT NULL DEFAULT false,
ADD COLUMN sealed_metadata bytea CHECK (octet_length(sealed_metadata) <= 131072),
ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN deleted_at timestamptz,
ADD COLUMN purge_at timestamptz,
ADD COLUMN held_at timestamptz,
ADD COLUMN hold_reason text CHECK (hold_reason ~ '^[a-z][a-z0-9_.:-]{0,63}$'),
ADD CHECK ((deleted_at IS NULL) = (purge_at IS NULL)),
ADD CHECK ((held_at IS NULL) = (hold_reason IS NULL));
CREATE INDEX documents_by_purge ON documents (purge_at) WHERE purge_at IS NOT NULL;

-- The ledger's entry of the version's creation, for its receipt. No foreign key: it has no number yet.
ALTER TABLE document_versions ADD COLUMN entry_id uuid;

-- A version never changes, and goes with its document alone (the cascade runs as the owner).
REVOKE UPDATE, DELETE ON document_versions FROM undercroft_app;

-- Legal hold ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION refuse_held_document() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'document % is under legal hold', old.id USING ERRCODE = 'object_in_use';
END
$$;
REVOKE ALL ON FUNCTION refuse_held_document() FROM PUBLIC;
CREATE TRIGGER refuse_held BEFORE DELETE ON documents
FOR EACH ROW WHEN (old.held_at IS NOT NULL) EXECUTE FUNCTION refuse_held_document();

-- Sealing ---------------------------------------------------------------------------------------------------------------

-- Whatever seals a document takes it out of every collection and out of the index. The contents are locked first, and
-- only then, by a later statement, is looked who else has them: an upload of the same content waits at that lock, and
-- an indexing job stores nothing for a content that is not pending.
CREATE FUNCTION forget_sealed_document() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    contents uuid[];
BEGIN
    DELETE FROM collection_documents WHERE tenant_id = new.tenant_id AND document_id = new.id;
    contents := ARRAY(
        SELECT b.id FROM blobs AS b
        WHERE b.id IN (SELECT v.blob_id FROM document_versions AS v WHERE v.document_id = new.id)
        ORDER BY b.id
        FOR UPDATE
    );
    contents := ARRAY(
        SELECT content FROM unnest(contents) AS content
        WHERE NOT EXISTS (
            SELECT FROM document_versions AS v
            JOIN documents AS d ON d.id = v.document_id
            WHERE v.tenant_id = new.tenant_id AND v.blob_id = content AND NOT d.is_sealed
        )
    );
    UPDATE blobs SET index_state = 'unindexed', index_error_code = NULL, index_error_message = NULL
    WHERE id = ANY(contents);
    DELETE FROM chunks WHERE tenant_id = new.tenant_id AND blob_id = ANY(contents);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION forget_sealed_document() FROM PUBLIC;
CREATE TRIGGER forget_sealed AFTER UPDATE OF is_sealed ON documents
FOR EACH ROW WHEN (new.is_sealed AND NOT old.is_sealed) EXECUTE FUNCTION forget_sealed_document();

-- The contents that the transaction's principal may search within the given collections.
CREATE OR REPLACE FUNCTION searchable_blobs(collection_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT v.blob_id
    FROM collections AS c
    JOIN collection_documents AS m ON m.tenant_id = c.tenant_id AND m.collection_id = c.id
    JOIN documents AS d ON d.tenant_id = m.tenant_id AND d.id = m.document_id
    JOIN document_versions AS v ON v.document_id = d.id AND v.number = d.current_version
    WHERE c.tenant_id = current_tenant()
      AND c.id = ANY(collection_ids)
      AND c.owner_id = current_principal()
      AND d.owner_id = current_principal()
      AND d.deleted_at IS NULL
      AND NOT d.is_sealed
$$;

-- Answers that were made from what is erased ----------------------------------------------------------------------------

-- NULL: a document that the answer was made from was erased, and the answer with it.
ALTER TABLE responses ALTER COLUMN data_key_id DROP NOT NULL;
CREATE INDEX response_passages_by_document ON response_passages (tenant_id, document_id);

CREATE FUNCTION erase_response(response_ids uuid[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    key_ids uuid[];
BEGIN
    -- Locked in the order of their ids: two documents of the same answers may be erased at once.
    key_ids := ARRAY(
        SELECT r.data_key_id FROM responses AS r
        WHERE r.id = ANY(response_ids) AND r.data_key_id IS NOT NULL
        ORDER BY r.id
        FOR UPDATE
    );
    UPDATE responses SET data_key_id = NULL, sealed_resource = '' WHERE id = ANY(response_ids);
    DELETE FROM data_keys WHERE id = ANY(key_ids);
END
$$;

CREATE FUNCTION erase_derived_responses() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM erase_response(ARRAY(
        SELECT p.response_id FROM response_passages AS p
        WHERE p.tenant_id = old.tenant_id AND p.document_id = old.id
    ));
    RETURN NULL;
END
$$;
CREATE TRIGGER erase_responses AFTER DELETE ON documents
FOR EACH ROW EXECUTE FUNCTION erase_derived_responses();

-- The other side of the race: a document that was erased between the search and this row. KEY SHARE keeps one that is
-- there until this transaction ends; its erasure then finds this row.
CREATE FUNCTION erase_response_without_source() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM documents AS d WHERE d.id = new.document_id FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM erase_response(ARRAY[new.response_id]);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER erase_without_source AFTER INSERT ON response_passages
FOR EACH ROW EXECUTE FUNCTION erase_response_without_source();

REVOKE ALL ON FUNCTION erase_response(uuid[]), erase_derived_responses(), erase_response_without_source() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_response(uuid[]) TO undercroft_app;

-- The trash -------------------------------------------------------------------------------------------------------------

-- What has been in the trash for its time. A held document stays there.
CREATE FUNCTION list_expired_documents(row_limit int) RETURNS TABLE (tenant_id uuid, owner_id uuid, document_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT d.tenant_id, d.owner_id, d.id FROM documents AS d
    WHERE d.purge_at <= now() AND d.held_at IS NULL
    ORDER BY d.purge_at LIMIT row_limit
$$;
REVOKE ALL ON FUNCTION list_expired_documents(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_expired_documents(int) TO undercroft_app;
GRANT SELECT (id, tenant_id, owner_id, purge_at, held_at) ON documents TO undercroft_system;
CREATE POLICY purge ON documents FOR SELECT TO undercroft_system USING (true);
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_expired_documents(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

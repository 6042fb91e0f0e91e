-- Keys, and what they encrypt: names, texts, answers. What stays readable here, and why, is in docs/erasure.md.
--
-- Only an empty database can be brought to this schema: what an earlier version stored in the clear cannot be encrypted
-- by a statement, and would stay in old pages and in the WAL.
DO $$
BEGIN
    -- Not a SELECT: forced row-level security would show the owner an empty table.
    ALTER TABLE blobs ADD COLUMN data_key_id uuid NOT NULL;
    ALTER TABLE documents ADD COLUMN data_key_id uuid NOT NULL;
    ALTER TABLE collections ADD COLUMN data_key_id uuid NOT NULL;
    ALTER TABLE responses ADD COLUMN data_key_id uuid NOT NULL;
EXCEPTION WHEN not_null_violation THEN
    RAISE EXCEPTION 'this database was filled by a version without encryption: load its documents into a new one';
END
$$;

CREATE TABLE tenant_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    number int NOT NULL CHECK (number >= 1),
    -- NULL: destroyed, and everything that it encrypted with it.
    wrapped_key bytea CHECK (octet_length(wrapped_key) BETWEEN 32 AND 4096),
    is_current boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, number),
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX tenant_keys_current ON tenant_keys (tenant_id) WHERE is_current;

CREATE TABLE data_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    tenant_key_id uuid NOT NULL,
    wrapped_key bytea NOT NULL CHECK (octet_length(wrapped_key) = 60),
    salt bytea NOT NULL CHECK (octet_length(salt) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, tenant_key_id) REFERENCES tenant_keys (tenant_id, id)
);
CREATE INDEX data_keys_by_tenant_key ON data_keys (tenant_id, tenant_key_id, id);

-- The key of digests that are compared: which contents are the same, which records hold a value.
CREATE TABLE lookup_keys (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    data_key_id uuid NOT NULL,
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['tenant_keys', 'data_keys', 'lookup_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
    END LOOP;
    -- A row's key goes with the row, in whatever way the row goes.
    FOREACH table_name IN ARRAY ARRAY['blobs', 'documents', 'collections', 'responses'] LOOP
        EXECUTE format(
            'ALTER TABLE %I ADD FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)', table_name
        );
        EXECUTE format('CREATE INDEX %I ON %I (data_key_id)', table_name || '_by_data_key', table_name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE (wrapped_key, is_current) ON tenant_keys TO undercroft_app;
GRANT SELECT, INSERT, DELETE, UPDATE (tenant_key_id, wrapped_key) ON data_keys TO undercroft_app;
GRANT SELECT, INSERT ON lookup_keys TO undercroft_app;

CREATE FUNCTION delete_data_key() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM data_keys WHERE id = old.data_key_id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_data_key() FROM PUBLIC;

-- A key is destroyed with its row, whatever deletes it.
CREATE TRIGGER delete_key AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON documents FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON collections FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON responses FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- Once a tenant's key is destroyed its index must not go on telling words.
CREATE FUNCTION delete_tenant_index() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM chunks WHERE tenant_id = new.tenant_id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_tenant_index() FROM PUBLIC;
CREATE TRIGGER delete_index AFTER UPDATE OF wrapped_key ON tenant_keys
FOR EACH ROW WHEN (new.is_current AND new.wrapped_key IS NULL) EXECUTE FUNCTION delete_tenant_index();

-- For the rotation of the provider's key, which wraps every tenant's.
CREATE FUNCTION list_tenants(after uuid, row_limit int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT id FROM tenants WHERE id > after ORDER BY id LIMIT row_limit $$;
REVOKE ALL ON FUNCTION list_tenants(uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_tenants(uuid, int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_tenants(uuid, int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- What was in the clear -----------------------------------------------------------------------------------------------

-- `digest` is a keyed one from now on; the plain one is sealed, for receipts and checks. `stored_name` is the SHA-256 of
-- the ciphertext.
ALTER TABLE blobs
ADD COLUMN sealed_sha256 bytea NOT NULL,
ADD COLUMN stored_name bytea NOT NULL CHECK (octet_length(stored_name) = 32);

ALTER TABLE documents
DROP COLUMN filename,
ADD COLUMN sealed_name bytea NOT NULL CHECK (octet_length(sealed_name) <= 4096);
ALTER TABLE collections
DROP COLUMN name,
ADD COLUMN sealed_name bytea NOT NULL CHECK (octet_length(sealed_name) <= 4096);
ALTER TABLE responses DROP COLUMN resource, ADD COLUMN sealed_resource bytea NOT NULL;

-- A passage's text and headings, under the key of its content.
ALTER TABLE chunks
DROP COLUMN text,
DROP COLUMN headings,
ADD COLUMN sealed_text bytea NOT NULL,
ADD CHECK (end_offset > start_offset);

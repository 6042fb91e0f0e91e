-- Uploads in parts, and how many bytes each user and each tenant keeps.

CREATE TABLE uploads (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    purpose text NOT NULL,
    -- What the parts have to add up to.
    byte_size bigint NOT NULL CHECK (byte_size >= 1),
    received_bytes bigint NOT NULL DEFAULT 0 CHECK (received_bytes >= 0),
    part_count int NOT NULL DEFAULT 0 CHECK (part_count >= 0),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'completed', 'cancelled')),
    data_key_id uuid NOT NULL,
    sealed_name bytea NOT NULL CHECK (octet_length(sealed_name) <= 4096),
    document_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '1 hour',
    UNIQUE (tenant_id, id),
    CHECK ((state = 'completed') = (document_id IS NOT NULL)),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX uploads_by_data_key ON uploads (data_key_id);
CREATE INDEX uploads_by_document ON uploads (tenant_id, document_id) WHERE document_id IS NOT NULL;

-- Each is a file of its own in the blob store, under a key of its own: nothing has to be read again when the next comes.
CREATE TABLE upload_parts (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    upload_id uuid NOT NULL,
    byte_size bigint NOT NULL CHECK (byte_size >= 1),
    data_key_id uuid NOT NULL,
    -- SHA-256 of the ciphertext, as in blobs.
    stored_name bytea NOT NULL CHECK (octet_length(stored_name) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, upload_id) REFERENCES uploads (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX upload_parts_by_upload ON upload_parts (tenant_id, upload_id, id);
CREATE INDEX upload_parts_by_data_key ON upload_parts (data_key_id);
CREATE TRIGGER delete_key AFTER DELETE ON uploads FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON upload_parts FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- Content in bytes, a content that an owner has twice counted once, as it is stored.
CREATE TABLE user_usage (
    tenant_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    byte_size bigint NOT NULL CHECK (byte_size >= 0),
    PRIMARY KEY (tenant_id, owner_id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
CREATE TABLE tenant_usage (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    byte_size bigint NOT NULL CHECK (byte_size >= 0)
) WITH (fillfactor = 50);

-- What is there already. The owner, too, is under the policies where they are forced; this locks the table until the
-- triggers below are there.
ALTER TABLE blobs NO FORCE ROW LEVEL SECURITY;
INSERT INTO user_usage (tenant_id, owner_id, byte_size)
SELECT tenant_id, owner_id, sum(byte_size) FROM blobs GROUP BY tenant_id, owner_id;
INSERT INTO tenant_usage (tenant_id, byte_size)
SELECT tenant_id, sum(byte_size) FROM blobs GROUP BY tenant_id;
ALTER TABLE blobs FORCE ROW LEVEL SECURITY;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['uploads', 'upload_parts', 'user_usage', 'tenant_usage'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['user_usage', 'tenant_usage'] LOOP
        EXECUTE format('CREATE POLICY count_bytes ON %I TO undercroft_system USING (true) WITH CHECK (true)', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO undercroft_system', table_name);
        EXECUTE format('GRANT SELECT ON %I TO undercroft_app', table_name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE, UPDATE (received_bytes, part_count, state, document_id) ON uploads TO undercroft_app;
GRANT SELECT, INSERT, DELETE ON upload_parts TO undercroft_app;

-- Keeps the counts, whatever inserts or deletes. Of two transactions of one user, or of one tenant, the second waits here
-- for the first to end and then adds to what that one left: together they cannot exceed what each alone would keep to.
-- Deferred, and the user before the tenant: the rows are locked at the very end of a transaction, all in one order.
CREATE FUNCTION count_kept_bytes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        INSERT INTO user_usage AS u (tenant_id, owner_id, byte_size)
        VALUES (new.tenant_id, new.owner_id, new.byte_size)
        ON CONFLICT (tenant_id, owner_id) DO UPDATE SET byte_size = u.byte_size + excluded.byte_size;
        INSERT INTO tenant_usage AS t (tenant_id, byte_size)
        VALUES (new.tenant_id, new.byte_size)
        ON CONFLICT (tenant_id) DO UPDATE SET byte_size = t.byte_size + excluded.byte_size;
    ELSE
        UPDATE user_usage SET byte_size = byte_size - old.byte_size
        WHERE tenant_id = old.tenant_id AND owner_id = old.owner_id;
        UPDATE tenant_usage SET byte_size = byte_size - old.byte_size WHERE tenant_id = old.tenant_id;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION count_kept_bytes() FROM PUBLIC;

CREATE CONSTRAINT TRIGGER count_blob_bytes AFTER INSERT OR DELETE ON blobs
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_kept_bytes();
CREATE CONSTRAINT TRIGGER count_part_bytes AFTER INSERT OR DELETE ON upload_parts
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_kept_bytes();

-- Counts what this transaction keeps now rather than at its end, and answers what is kept then, under the locks of the
-- counts: nobody else's bytes can come in between this answer and the commit.
CREATE FUNCTION settle_usage() RETURNS TABLE (user_bytes bigint, tenant_bytes bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    SET CONSTRAINTS count_blob_bytes, count_part_bytes IMMEDIATE;
    RETURN QUERY
    SELECT u.byte_size, t.byte_size
    FROM user_usage AS u JOIN tenant_usage AS t ON t.tenant_id = u.tenant_id
    WHERE u.tenant_id = current_tenant() AND u.owner_id = current_principal();
END
$$;
REVOKE ALL ON FUNCTION settle_usage() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_usage() TO undercroft_app;

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION count_kept_bytes() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

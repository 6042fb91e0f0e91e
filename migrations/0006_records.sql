-- Records and their schemas. What a record or a schema says is encrypted; in the clear are only the plain fields of the
-- records' current versions, which the schema's admin has named as such (docs/records.md).

CREATE TABLE schemas (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    sealed_name bytea NOT NULL CHECK (octet_length(sealed_name) <= 4096),
    current_version int NOT NULL DEFAULT 1 CHECK (current_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX schemas_by_tenant ON schemas (tenant_id, id);
CREATE INDEX schemas_by_data_key ON schemas (data_key_id);

CREATE TABLE schema_versions (
    tenant_id uuid NOT NULL,
    schema_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    sealed_definition bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_id, number),
    UNIQUE (tenant_id, schema_id, number),
    FOREIGN KEY (tenant_id, schema_id) REFERENCES schemas (tenant_id, id) ON DELETE CASCADE
);

-- A lock is a lease: it ends by itself, by the database's clock. Only a digest of its token is kept.
CREATE TABLE records (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    schema_id uuid NOT NULL,
    schema_version int NOT NULL,
    data_key_id uuid NOT NULL,
    current_version int NOT NULL DEFAULT 1 CHECK (current_version >= 1),
    -- {schema's id: {pointer: value}}. The index hashes a value together with the keys above it, so that with the schema's
    -- id among them an entry is of one tenant: without it, a look-up would visit every tenant's rows with that value.
    plain jsonb NOT NULL CHECK (jsonb_typeof(plain) = 'object'),
    lock_digest bytea CHECK (octet_length(lock_digest) = 32),
    locked_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    CHECK ((lock_digest IS NULL) = (locked_until IS NULL)),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, schema_id, schema_version) REFERENCES schema_versions (tenant_id, schema_id, number),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
) WITH (fillfactor = 80);
CREATE INDEX records_by_schema ON records (tenant_id, owner_id, schema_id, id);
CREATE INDEX records_by_owner ON records (tenant_id, owner_id, id);
CREATE INDEX records_by_schema_version ON records (tenant_id, schema_id, schema_version);
CREATE INDEX records_by_data_key ON records (data_key_id);
CREATE INDEX records_by_plain_field ON records USING gin (plain jsonb_path_ops);

CREATE TABLE record_versions (
    tenant_id uuid NOT NULL,
    record_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    schema_id uuid NOT NULL,
    schema_version int NOT NULL,
    author_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (record_id, number),
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, schema_id, schema_version) REFERENCES schema_versions (tenant_id, schema_id, number)
);
CREATE INDEX record_versions_by_schema ON record_versions (tenant_id, schema_id, schema_version);

-- What a version says: part 0 is all but the sensitive fields, under the record's key; each other part is one sensitive
-- field under a key of its own, the same in every version. A part refers to the record rather than to its version, so
-- that a deleted record's parts go before its key does.
CREATE TABLE record_parts (
    tenant_id uuid NOT NULL,
    record_id uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    number int NOT NULL CHECK (number BETWEEN 0 AND 64),
    data_key_id uuid NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (record_id, version, number),
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX record_parts_by_data_key ON record_parts (data_key_id);

-- The blind index over the current versions: keyed digests of (schema, pointer, value). Which field a digest is of is not
-- written anywhere.
CREATE TABLE record_digests (
    tenant_id uuid NOT NULL,
    record_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (record_id, digest),
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX record_digests_by_digest ON record_digests (tenant_id, digest, record_id);

-- One person's records on their way to another version of their schema. The patch is encrypted under the schema's key.
CREATE TABLE record_migrations (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    schema_id uuid NOT NULL,
    to_version int NOT NULL,
    sealed_patch bytea NOT NULL,
    -- Every record up to this one has been dealt with.
    last_record_id uuid,
    migrated int NOT NULL DEFAULT 0 CHECK (migrated >= 0),
    failed int NOT NULL DEFAULT 0 CHECK (failed >= 0),
    failed_record_ids uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(failed_record_ids) <= 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, schema_id) REFERENCES schemas (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, schema_id, to_version)
    REFERENCES schema_versions (tenant_id, schema_id, number) ON DELETE CASCADE
);
CREATE INDEX record_migrations_by_schema ON record_migrations (tenant_id, schema_id, to_version);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'schemas', 'schema_versions', 'records', 'record_versions', 'record_parts', 'record_digests', 'record_migrations'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('GRANT SELECT, INSERT ON %I TO undercroft_app', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['records', 'record_digests'] LOOP
        EXECUTE format('CREATE POLICY search ON %I FOR SELECT TO undercroft_search USING (true)', table_name);
        EXECUTE format('GRANT SELECT ON %I TO undercroft_search', table_name);
    END LOOP;
END
$$;

-- Versions and parts are never changed, and go only with what they belong to.
GRANT UPDATE (current_version), DELETE ON schemas TO undercroft_app;
GRANT UPDATE (schema_version, current_version, plain, lock_digest, locked_until), DELETE ON records TO undercroft_app;
GRANT DELETE ON record_digests TO undercroft_app;
GRANT UPDATE (last_record_id, migrated, failed, failed_record_ids, finished_at) ON record_migrations TO undercroft_app;

-- Fired in the order of their names, after the foreign keys' own: by then nothing refers to the key any more.
CREATE TRIGGER delete_key AFTER DELETE ON schemas FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON records FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON record_parts FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- The principal's records of a schema, oldest first, whose plain fields hold all of `wanted` and whose indexed fields have
-- all of `digests`. jsonb's @> is not leakproof, so under row-level security the index would not be used for it; see
-- 0002_search.sql. What matches is found first: in the order of ids, a rare value would mean reading every record.
CREATE FUNCTION search_records(schema uuid, wanted jsonb, digests bytea[], after uuid, row_limit int)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    IF cardinality(digests) > 0 THEN
        RETURN QUERY
        SELECT r.id
        FROM record_digests AS d
        JOIN records AS r ON r.tenant_id = d.tenant_id AND r.id = d.record_id
        WHERE d.tenant_id = current_tenant()
          AND d.digest = digests[1]
          AND r.owner_id = current_principal()
          AND r.schema_id = schema
          AND (after IS NULL OR r.id > after)
          AND (wanted = '{}' OR r.plain @> jsonb_build_object(schema, wanted))
          AND NOT EXISTS (
              SELECT FROM unnest(digests) AS needed (digest)
              WHERE NOT EXISTS (
                  SELECT FROM record_digests AS other
                  WHERE other.record_id = r.id AND other.digest = needed.digest
              )
          )
        ORDER BY r.id
        LIMIT row_limit;
    ELSE
        RETURN QUERY
        WITH found AS MATERIALIZED (
            SELECT r.id
            FROM records AS r
            WHERE r.plain @> jsonb_build_object(schema, wanted)
              AND r.tenant_id = current_tenant()
              AND r.owner_id = current_principal()
              AND r.schema_id = schema
        )
        SELECT f.id FROM found AS f WHERE after IS NULL OR f.id > after ORDER BY f.id LIMIT row_limit;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION search_records(uuid, jsonb, bytea[], uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_records(uuid, jsonb, bytea[], uuid, int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_records(uuid, jsonb, bytea[], uuid, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;

-- Once a tenant's key is destroyed, what its records are found by must not go on telling values.
CREATE FUNCTION delete_tenant_record_index() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM record_digests WHERE tenant_id = new.tenant_id;
    UPDATE records SET plain = '{}' WHERE tenant_id = new.tenant_id AND plain <> '{}';
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_tenant_record_index() FROM PUBLIC;
CREATE TRIGGER delete_record_index AFTER UPDATE OF wrapped_key ON tenant_keys
FOR EACH ROW WHEN (new.is_current AND new.wrapped_key IS NULL) EXECUTE FUNCTION delete_tenant_record_index();

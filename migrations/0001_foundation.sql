-- Tenants, users, keys, documents, collections, the search index and stored responses.
--
-- Roles. None of them can log in; `undercroft migrate` grants undercroft_app to the service's login.
--   undercroft_app     what the service may do: only rows of the transaction's tenant
--   undercroft_search  owns the search functions: reads the index of every tenant, writes nothing
--   undercroft_system  owns the few functions that cross tenants
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['undercroft_app', 'undercroft_search', 'undercroft_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
        -- A function can only be given to a role that the owner may become.
        IF NOT pg_has_role(current_user, role_name, 'USAGE') THEN
            EXECUTE format('GRANT %I TO %I', role_name, current_user);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO undercroft_app, undercroft_search, undercroft_system;
-- A function's new owner must be allowed to create in its schema, for as long as it takes to hand the functions over.
GRANT CREATE ON SCHEMA public TO undercroft_search, undercroft_system;
GRANT SELECT ON schema_migrations TO undercroft_app;

-- pg_temp stands last in the search_path of every function here. Where it is not named it comes first, and then a caller
-- who may create temporary objects has a type of their own taken for uuid, its CHECK run with a definer's rights.

-- After a transaction a SET LOCAL variable reads as '', not NULL.
CREATE FUNCTION current_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT nullif(current_setting('undercroft.tenant_id', true), '')::uuid $$;

CREATE FUNCTION current_principal() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT nullif(current_setting('undercroft.principal_id', true), '')::uuid $$;

-- Makes a login the service's. GRANT takes no parameter, hence the function; it has the rights of whoever calls it.
CREATE FUNCTION grant_service_role(login text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$ BEGIN EXECUTE format('GRANT undercroft_app TO %I', login); END $$;
REVOKE ALL ON FUNCTION grant_service_role(text) FROM PUBLIC;

-- Identity ------------------------------------------------------------------------------------------------------------

CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 320),
    role text NOT NULL CHECK (role IN ('admin', 'member')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, email),
    UNIQUE (tenant_id, id)
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    prefix text NOT NULL,
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX api_keys_by_user ON api_keys (tenant_id, user_id, id);

-- Documents -----------------------------------------------------------------------------------------------------------

-- The bytes of one content and what was derived from them. One row for each content an owner has, however many of the
-- owner's documents hold it: it is stored, parsed and embedded once.
CREATE TABLE blobs (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    byte_size bigint NOT NULL CHECK (byte_size >= 0),
    media_type text NOT NULL,
    index_state text NOT NULL DEFAULT 'unindexed'
    CHECK (index_state IN ('unindexed', 'pending', 'indexed', 'failed')),
    index_error_code text,
    index_error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, owner_id, digest),
    UNIQUE (tenant_id, id),
    CHECK ((index_state = 'failed') = (index_error_code IS NOT NULL)),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id)
);

CREATE TABLE documents (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    filename text NOT NULL CHECK (char_length(filename) BETWEEN 1 AND 512),
    purpose text NOT NULL,
    current_version int NOT NULL DEFAULT 1 CHECK (current_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX documents_by_owner ON documents (tenant_id, owner_id, id);

CREATE TABLE document_versions (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    blob_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (document_id, number),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, blob_id) REFERENCES blobs (tenant_id, id)
);
CREATE INDEX document_versions_by_blob ON document_versions (tenant_id, blob_id);

CREATE TABLE collections (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    name text NOT NULL CHECK (char_length(name) <= 256),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_active_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX collections_by_owner ON collections (tenant_id, owner_id, id);

CREATE TABLE collection_documents (
    tenant_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    document_id uuid NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, document_id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES collections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX collection_documents_by_document ON collection_documents (tenant_id, document_id);

-- Search index --------------------------------------------------------------------------------------------------------

CREATE TABLE chunks (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL,
    blob_id uuid NOT NULL,
    ordinal int NOT NULL CHECK (ordinal >= 0),
    start_offset int NOT NULL CHECK (start_offset >= 0),
    end_offset int NOT NULL,
    page_start int,
    page_end int,
    headings text[] NOT NULL,
    text text NOT NULL,
    token_count int NOT NULL,
    lexemes tsvector NOT NULL,
    terms sparsevec NOT NULL,
    CHECK (end_offset - start_offset = char_length(text)),
    UNIQUE (blob_id, ordinal),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, blob_id) REFERENCES blobs (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX chunks_by_tenant_blob ON chunks (tenant_id, blob_id, ordinal);
CREATE INDEX chunks_by_lexeme ON chunks USING gin (lexemes);

CREATE TABLE embedding_models (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    dimensions int NOT NULL CHECK (dimensions BETWEEN 1 AND 4000)
);

-- One HNSW index for each model, partial on its id, is made by register_embedding_model. The reference to chunks is checked
-- at commit, so that the slow inserts into that index can come before the chunks, whose trigger locks the statistics.
CREATE TABLE chunk_embeddings (
    model_id smallint NOT NULL REFERENCES embedding_models (id),
    chunk_id bigint NOT NULL,
    tenant_id uuid NOT NULL,
    blob_id uuid NOT NULL,
    embedding halfvec NOT NULL,
    PRIMARY KEY (chunk_id, model_id),
    FOREIGN KEY (tenant_id, chunk_id) REFERENCES chunks (tenant_id, id)
    ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX chunk_embeddings_by_tenant_blob ON chunk_embeddings (tenant_id, blob_id, model_id);

-- In how many of a tenant's chunks each term occurs: the "document frequency" of BM25. Kept by triggers on chunks.
CREATE TABLE term_statistics (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    term text NOT NULL,
    chunk_count int NOT NULL,
    PRIMARY KEY (tenant_id, term)
);

-- weighted_average is the average length that the stored term weights were computed with.
CREATE TABLE corpus_statistics (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    chunk_count bigint NOT NULL DEFAULT 0,
    term_total bigint NOT NULL DEFAULT 0,
    weighted_average real NOT NULL DEFAULT 0
);

-- Responses -----------------------------------------------------------------------------------------------------------

CREATE TABLE responses (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('in_progress', 'completed', 'failed', 'incomplete', 'cancelled')),
    resource jsonb NOT NULL CHECK (jsonb_typeof(resource) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX responses_by_owner ON responses (tenant_id, owner_id, id);

-- Which passages a stored response was made from. document_id has no foreign key: that the document is gone is just
-- what a later reading of the response has to notice.
CREATE TABLE response_passages (
    tenant_id uuid NOT NULL,
    response_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    document_id uuid NOT NULL,
    document_version int NOT NULL,
    start_offset int NOT NULL,
    end_offset int NOT NULL,
    score real NOT NULL,
    PRIMARY KEY (response_id, number),
    FOREIGN KEY (tenant_id, response_id) REFERENCES responses (tenant_id, id) ON DELETE CASCADE
);

-- Isolation -----------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'users', 'api_keys', 'blobs', 'documents', 'document_versions', 'collections', 'collection_documents',
        'chunks', 'chunk_embeddings', 'term_statistics', 'corpus_statistics', 'responses', 'response_passages'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO undercroft_app', table_name);
    END LOOP;
END
$$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenants TO undercroft_app
USING (id = (SELECT current_tenant())) WITH CHECK (id = (SELECT current_tenant()));
GRANT SELECT, INSERT ON tenants TO undercroft_app;
GRANT USAGE ON SEQUENCE chunks_id_seq TO undercroft_app;
GRANT SELECT ON embedding_models TO undercroft_app, undercroft_search;

GRANT SELECT (id, name) ON tenants TO undercroft_system;
CREATE POLICY find_by_name ON tenants FOR SELECT TO undercroft_system USING (true);
GRANT SELECT ON users TO undercroft_system;
CREATE POLICY authenticate ON users FOR SELECT TO undercroft_system USING (true);
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO undercroft_system;
CREATE POLICY authenticate ON api_keys FOR SELECT TO undercroft_system USING (true);
CREATE POLICY mark_used ON api_keys FOR UPDATE TO undercroft_system USING (true) WITH CHECK (true);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'documents', 'document_versions', 'collections', 'collection_documents', 'chunks', 'chunk_embeddings',
        'term_statistics', 'corpus_statistics'
    ] LOOP
        EXECUTE format('CREATE POLICY search ON %I FOR SELECT TO undercroft_search USING (true)', table_name);
        EXECUTE format('GRANT SELECT ON %I TO undercroft_search', table_name);
    END LOOP;
END
$$;

-- Crossing tenants: looking up a key, and a tenant by its name -------------------------------------------------------

CREATE FUNCTION authenticate_api_key(presented_hash bytea)
RETURNS TABLE (key_id uuid, tenant_id uuid, user_id uuid, role text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT k.id, k.tenant_id, k.user_id, u.role
    FROM api_keys AS k
    JOIN users AS u ON u.tenant_id = k.tenant_id AND u.id = k.user_id
    WHERE k.key_hash = presented_hash
      AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now());
    -- Once a minute is exact enough for people and keeps a busy key from writing on every request. SKIP LOCKED: two
    -- requests with one key must not wait for each other's transaction here.
    UPDATE api_keys SET last_used_at = now()
    WHERE id = (
        SELECT k.id FROM api_keys AS k
        WHERE k.key_hash = presented_hash
          AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute')
        FOR UPDATE SKIP LOCKED
    );
END
$$;

CREATE FUNCTION find_tenant(tenant_name text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT id FROM tenants WHERE name = tenant_name $$;

REVOKE ALL ON FUNCTION authenticate_api_key(bytea), find_tenant(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_api_key(bytea), find_tenant(text) TO undercroft_app;
ALTER FUNCTION authenticate_api_key(bytea) OWNER TO undercroft_system;
ALTER FUNCTION find_tenant(text) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system, undercroft_search;

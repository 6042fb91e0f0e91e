-- Access requests: somebody asks the owner of a thing for a grant. Asking reveals nothing: of a thing that is not there the
-- same is answered, after the same statements, and nothing is kept but that the asker asked.

CREATE TABLE access_requests (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    asker_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    document_id uuid,
    collection_id uuid,
    record_id uuid,
    response_id uuid,
    resource_id uuid NOT NULL GENERATED ALWAYS AS (coalesce(document_id, collection_id, record_id, response_id)) STORED,
    -- What is asked for, and the message with it, under the thing's key; forgotten with the answer.
    sealed_content bytea CHECK (octet_length(sealed_content) <= 262144),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'denied', 'expired')),
    grant_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What nobody has answered by then is over, whether a worker has said so or not.
    expires_at timestamptz NOT NULL DEFAULT now() + interval '30 days',
    answered_at timestamptz,
    UNIQUE (tenant_id, id),
    CHECK (num_nonnulls(document_id, collection_id, record_id, response_id) = 1),
    CHECK ((state = 'pending') = (sealed_content IS NOT NULL)),
    CHECK ((state = 'pending') = (answered_at IS NULL)),
    CHECK ((state = 'approved') = (grant_id IS NOT NULL)),
    CHECK (expires_at > created_at AND expires_at <= created_at + interval '90 days'),
    FOREIGN KEY (tenant_id, asker_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, collection_id) REFERENCES collections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, response_id) REFERENCES responses (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
-- One question of one person about one thing: asking again takes the place of what was asked.
CREATE UNIQUE INDEX access_requests_pending ON access_requests (tenant_id, asker_id, resource_id)
WHERE state = 'pending';
CREATE INDEX access_requests_by_owner ON access_requests (tenant_id, owner_id, id);
CREATE INDEX access_requests_by_asker ON access_requests (tenant_id, asker_id, id);
CREATE INDEX access_requests_by_expiry ON access_requests (expires_at) WHERE state = 'pending';
CREATE INDEX access_requests_by_document ON access_requests (tenant_id, document_id) WHERE document_id IS NOT NULL;
CREATE INDEX access_requests_by_collection ON access_requests (tenant_id, collection_id)
WHERE collection_id IS NOT NULL;
CREATE INDEX access_requests_by_record ON access_requests (tenant_id, record_id) WHERE record_id IS NOT NULL;
CREATE INDEX access_requests_by_response ON access_requests (tenant_id, response_id) WHERE response_id IS NOT NULL;
CREATE INDEX access_requests_by_grant ON access_requests (tenant_id, grant_id) WHERE grant_id IS NOT NULL;

-- How often somebody has asked on a day, whether there was such a thing or not: a bound on what is kept alone would tell.
CREATE TABLE access_request_counts (
    tenant_id uuid NOT NULL,
    asker_id uuid NOT NULL,
    day date NOT NULL,
    asked int NOT NULL DEFAULT 1 CHECK (asked BETWEEN 1 AND 100),
    PRIMARY KEY (asker_id, day),
    FOREIGN KEY (tenant_id, asker_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['access_requests', 'access_request_counts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO undercroft_app', table_name);
    END LOOP;
END
$$;
GRANT UPDATE (state, sealed_content, grant_id, answered_at) ON access_requests TO undercroft_app;
GRANT UPDATE (asked) ON access_request_counts TO undercroft_app;

-- What somebody may ask for: whatever is there, whosever it is, but for what is in the trash.
CREATE VIEW requestable_things WITH (security_invoker = true) AS
SELECT d.id, d.tenant_id, d.owner_id, d.data_key_id, 'document' AS kind FROM documents AS d WHERE d.deleted_at IS NULL
UNION ALL
SELECT c.id, c.tenant_id, c.owner_id, c.data_key_id, 'collection' FROM collections AS c
UNION ALL
SELECT r.id, r.tenant_id, r.owner_id, r.data_key_id, 'record' FROM records AS r
UNION ALL
SELECT a.id, a.tenant_id, a.owner_id, a.data_key_id, 'response' FROM responses AS a;
GRANT SELECT ON requestable_things TO undercroft_app;

-- Closes what nobody has answered in time, of every tenant, and forgets counts of former days; how many were closed.
CREATE FUNCTION expire_access_requests() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    closed bigint;
BEGIN
    WITH overdue AS (
        SELECT r.id FROM access_requests AS r
        WHERE r.state = 'pending' AND r.expires_at <= now()
        ORDER BY r.expires_at LIMIT 1000
        FOR UPDATE SKIP LOCKED
    )
    UPDATE access_requests AS r SET state = 'expired', sealed_content = NULL, answered_at = now()
    FROM overdue AS o WHERE r.id = o.id;
    GET DIAGNOSTICS closed = ROW_COUNT;
    DELETE FROM access_request_counts AS c WHERE c.day < current_date - 1;
    RETURN closed;
END
$$;
REVOKE ALL ON FUNCTION expire_access_requests() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION expire_access_requests() TO undercroft_app;
GRANT SELECT (id, state, expires_at), UPDATE (state, sealed_content, answered_at)
ON access_requests TO undercroft_system;
GRANT SELECT (day), DELETE ON access_request_counts TO undercroft_system;
CREATE POLICY expiry ON access_requests TO undercroft_system USING (true) WITH CHECK (true);
CREATE POLICY expiry ON access_request_counts TO undercroft_system USING (true);
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION expire_access_requests() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

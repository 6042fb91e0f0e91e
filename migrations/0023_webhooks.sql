-- Webhooks: what happens in a tenant, told to its own programs (docs/webhooks.md).

-- A tenant's endpoints. Where one is and what its messages are signed with is encrypted: a URL often holds a key itself.
-- A slot is one of the twenty that a tenant has: two who take the last one at once cannot both have it.
CREATE TABLE webhook_endpoints (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    slot smallint NOT NULL CHECK (slot BETWEEN 1 AND 20),
    data_key_id uuid NOT NULL,
    sealed_target bytea NOT NULL CHECK (octet_length(sealed_target) <= 8192),
    event_types text[] NOT NULL CHECK (cardinality(event_types) BETWEEN 1 AND 32),
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'gone')),
    former_secret_until timestamptz,
    revision int NOT NULL DEFAULT 1 CHECK (revision >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, slot),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX webhook_endpoints_by_data_key ON webhook_endpoints (data_key_id);

-- Something that happened, in ids and codes alone: what it is about is read by whoever may.
CREATE TABLE webhook_messages (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    event_type text NOT NULL CHECK (event_type ~ '^[a-z_]{1,40}\.[a-z_]{1,40}$'),
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object' AND octet_length(payload::text) <= 4096),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id)
);
CREATE INDEX webhook_messages_by_age ON webhook_messages (created_at, id);

-- A message on its way to one endpoint. Each attempt is a job of its own.
CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    endpoint_id uuid NOT NULL,
    message_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_status int CHECK (last_status BETWEEN 100 AND 999),
    last_error text CHECK (last_error ~ '^[a-z][a-z_]{0,62}$'),
    last_attempt_at timestamptz,
    next_attempt_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (endpoint_id, message_id),
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, message_id) REFERENCES webhook_messages (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (tenant_id, endpoint_id, id);
CREATE INDEX webhook_deliveries_by_message ON webhook_deliveries (tenant_id, message_id);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (tenant_id, endpoint_id, id) WHERE state = 'pending';

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['webhook_endpoints', 'webhook_messages', 'webhook_deliveries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('GRANT SELECT, INSERT ON %I TO undercroft_app', table_name);
    END LOOP;
END
$$;
GRANT UPDATE (sealed_target, event_types, state, former_secret_until, revision), DELETE
ON webhook_endpoints TO undercroft_app;
GRANT UPDATE (state, attempts, last_status, last_error, last_attempt_at, next_attempt_at)
ON webhook_deliveries TO undercroft_app;

CREATE TRIGGER delete_key AFTER DELETE ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- Deletes messages of more than thirty days ago with their deliveries, of all tenants; how many there were. By then every
-- attempt was made.
CREATE FUNCTION prune_webhook_messages(row_limit int) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH old AS (
        SELECT m.id FROM webhook_messages AS m
        WHERE m.created_at < now() - interval '30 days'
        ORDER BY m.created_at, m.id LIMIT row_limit
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM webhook_messages AS m USING old WHERE m.id = old.id RETURNING m.id
    )
    SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION prune_webhook_messages(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_webhook_messages(int) TO undercroft_app;
-- Locking a row takes the right to change a column of it; none is changed.
GRANT SELECT, DELETE, UPDATE (id) ON webhook_messages TO undercroft_system;
CREATE POLICY prune ON webhook_messages TO undercroft_system USING (true);

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION prune_webhook_messages(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- The ledger: one append-only log for each tenant, as a Merkle tree (docs/ledger.md).
--
-- A transaction appends to ledger_pending and waits for nobody. The sequencer moves what has been committed into
-- ledger_entries under the lock of the log's head row, numbers it without gaps, and signs the new tree.

-- A person's salt: the ledger names them by SHA-256(salt || id), and once the salt is gone nobody can say who it was.
ALTER TABLE users ADD COLUMN ledger_salt bytea NOT NULL
DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) CHECK (octet_length(ledger_salt) = 32);

-- The head of each log. The frontier holds the roots of the complete subtrees that make up the tree, largest first:
-- all that is needed to go on.
CREATE TABLE ledger_logs (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    size bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
    frontier bytea NOT NULL DEFAULT '',
    -- The newest of the keys that signed the checkpoint.
    key_number int,
    checkpoint text CHECK (octet_length(checkpoint) <= 4096),
    CHECK (octet_length(frontier) = 32 * bit_count(int8send(size))),
    CHECK ((checkpoint IS NULL) = (key_number IS NULL)),
    CHECK (size = 0 OR checkpoint IS NOT NULL)
) WITH (fillfactor = 50);

-- name is the log's origin: it is part of what is signed, so it is kept as it was when the first key was made.
CREATE TABLE ledger_keys (
    tenant_id uuid NOT NULL REFERENCES ledger_logs (tenant_id),
    number int NOT NULL CHECK (number >= 1),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 300),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    wrapped_private_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (tenant_id, number)
);

-- What was appended and has no number yet. No foreign keys: each would lock a row that all of a tenant's transactions
-- share. The columns beside the leaf are what people look for in the audit; the leaf alone is in the tree.
CREATE TABLE ledger_pending (
    tenant_id uuid NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ordinal bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    actor_id uuid NOT NULL,
    owner_id uuid,
    on_behalf_of uuid,
    action text NOT NULL CHECK (char_length(action) <= 64),
    resource text NOT NULL CHECK (char_length(resource) BETWEEN 1 AND 200),
    version int,
    outcome text NOT NULL CHECK (outcome IN ('allowed', 'denied')),
    grant_id uuid,
    purpose text CHECK (char_length(purpose) <= 64),
    trace text CHECK (char_length(trace) <= 64),
    -- An entry bundle writes an entry's length in 16 bits.
    leaf bytea NOT NULL CHECK (octet_length(leaf) BETWEEN 1 AND 65535)
) WITH (
    -- Every row is deleted within a second: vacuum by count, or the index grows with what is gone.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000
);
CREATE INDEX ledger_pending_in_order ON ledger_pending (tenant_id, xid, ordinal);

CREATE TABLE ledger_entries (
    tenant_id uuid NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    actor_id uuid NOT NULL,
    owner_id uuid,
    on_behalf_of uuid,
    action text NOT NULL,
    resource text NOT NULL,
    version int,
    outcome text NOT NULL,
    grant_id uuid,
    purpose text,
    trace text,
    leaf bytea NOT NULL,
    PRIMARY KEY (tenant_id, position),
    UNIQUE (tenant_id, id)
);
CREATE INDEX ledger_entries_by_time ON ledger_entries (tenant_id, occurred_at, position);
CREATE INDEX ledger_entries_by_actor ON ledger_entries (tenant_id, actor_id, occurred_at, position);
CREATE INDEX ledger_entries_by_owner ON ledger_entries (tenant_id, owner_id, occurred_at, position);
CREATE INDEX ledger_entries_by_resource ON ledger_entries (tenant_id, resource, occurred_at, position);
CREATE INDEX ledger_entries_by_action ON ledger_entries (tenant_id, action, occurred_at, position);

-- Tiles above the lowest, a row for each hash: the root of the 256^level entries from position * 256^level on.
CREATE TABLE ledger_tiles (
    tenant_id uuid NOT NULL,
    level int NOT NULL CHECK (level BETWEEN 1 AND 7),
    position bigint NOT NULL CHECK (position >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant_id, level, position)
);

-- Tenants that are there already. The owner, too, is under the policies where they are forced.
ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
INSERT INTO ledger_logs (tenant_id) SELECT id FROM tenants;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

-- Isolation: the service reads all of its tenant's log, appends to what is pending, and changes nothing -----------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'ledger_logs', 'ledger_keys', 'ledger_pending', 'ledger_entries', 'ledger_tiles'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('CREATE POLICY sequencing ON %I TO undercroft_system USING (true) WITH CHECK (true)', table_name);
        EXECUTE format('GRANT SELECT ON %I TO undercroft_app, undercroft_system', table_name);
    END LOOP;
END
$$;

-- By column: xid and ordinal, which decide the order, are the database's to fill.
GRANT INSERT (
    tenant_id, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome, grant_id, purpose,
    trace, leaf
) ON ledger_pending TO undercroft_app;
GRANT INSERT, UPDATE (retired_at, wrapped_private_key) ON ledger_keys TO undercroft_app;

-- Not even the sequencer may change or remove an entry or a hash.
GRANT DELETE ON ledger_pending TO undercroft_system;
GRANT INSERT ON ledger_entries, ledger_tiles TO undercroft_system;
GRANT INSERT (tenant_id), UPDATE (size, frontier, key_number, checkpoint) ON ledger_logs TO undercroft_system;

CREATE FUNCTION create_ledger_log() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO ledger_logs (tenant_id) VALUES (new.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER create_ledger_log AFTER INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION create_ledger_log();

-- Crossing tenants ----------------------------------------------------------------------------------------------------

-- The tenants with pending entries, from after one on, in the order of their ids: one step down the index for each.
CREATE FUNCTION list_pending_ledgers(after uuid, row_limit int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE pending (tenant_id) AS (
        (SELECT p.tenant_id FROM ledger_pending AS p WHERE p.tenant_id > after ORDER BY p.tenant_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT p.tenant_id FROM ledger_pending AS p
            WHERE p.tenant_id > pending.tenant_id ORDER BY p.tenant_id LIMIT 1
        )
        FROM pending
        WHERE pending.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM pending WHERE tenant_id IS NOT NULL LIMIT row_limit
$$;

-- Checkpoints are public.
CREATE FUNCTION find_ledger_checkpoint(log_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT checkpoint FROM ledger_logs WHERE id = log_id $$;

-- Sequencing, for the transaction's tenant: lock, then number, then advance, each a statement of its own -----------------

-- Answers no row while another sequencer has the log. What is pending must be read by a later statement than this one:
-- a statement's snapshot is older than the locks it waits for, and would not show what the last sequencer has moved.
-- NO KEY: a new signing key refers to this row and need not wait.
CREATE FUNCTION lock_ledger() RETURNS TABLE (log_id uuid, size bigint, frontier bytea, key_number int, newest_key int)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT l.id, l.size, l.frontier, l.key_number, (
        SELECT k.number FROM ledger_keys AS k WHERE k.tenant_id = l.tenant_id ORDER BY k.number DESC LIMIT 1
    )
    FROM ledger_logs AS l
    WHERE l.tenant_id = current_tenant()
    FOR NO KEY UPDATE OF l SKIP LOCKED
$$;

-- Moves the first pending entries into the log. By (xid, ordinal): if A committed before B began, A's number is lower,
-- and whoever sees B pending sees A as well. Rows are found again by ctid: nothing ever updates them.
CREATE FUNCTION number_pending_entries(row_limit int) RETURNS TABLE (entry_position bigint, entry_leaf bytea)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH taken AS (
        DELETE FROM ledger_pending
        WHERE ctid = ANY(ARRAY(
            SELECT p.ctid FROM ledger_pending AS p
            WHERE p.tenant_id = current_tenant()
            ORDER BY p.xid, p.ordinal
            LIMIT row_limit
        ))
        RETURNING
            xid, ordinal, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome,
            grant_id, purpose, trace, leaf
    )
    INSERT INTO ledger_entries (
        tenant_id, position, id, occurred_at, actor_id, owner_id, on_behalf_of, action, resource, version, outcome,
        grant_id, purpose, trace, leaf
    )
    SELECT
        l.tenant_id, l.size + row_number() OVER (ORDER BY t.xid, t.ordinal) - 1, t.id, t.occurred_at, t.actor_id,
        t.owner_id, t.on_behalf_of, t.action, t.resource, t.version, t.outcome, t.grant_id, t.purpose, t.trace, t.leaf
    FROM taken AS t CROSS JOIN ledger_logs AS l
    WHERE l.tenant_id = current_tenant()
    RETURNING position, leaf
$$;

-- Publishes the tree over the numbered entries. The old size is a second fence behind the lock.
CREATE FUNCTION advance_ledger(
    old_size bigint, new_size bigint, new_frontier bytea, levels int[], positions bigint[], hashes bytea[],
    signed_by int, new_checkpoint text
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE ledger_logs SET size = new_size, frontier = new_frontier, key_number = signed_by, checkpoint = new_checkpoint
    WHERE tenant_id = current_tenant() AND size = old_size AND new_size >= old_size;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the ledger is not at size % any more', old_size USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO ledger_tiles (tenant_id, level, position, hash)
    SELECT current_tenant(), t.level, t.position, t.hash
    FROM unnest(levels, positions, hashes) AS t (level, position, hash);
END
$$;

REVOKE ALL ON FUNCTION
    create_ledger_log(), list_pending_ledgers(uuid, int), find_ledger_checkpoint(uuid), lock_ledger(),
    number_pending_entries(int), advance_ledger(bigint, bigint, bytea, int[], bigint[], bytea[], int, text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    list_pending_ledgers(uuid, int), find_ledger_checkpoint(uuid), lock_ledger(), number_pending_entries(int),
    advance_ledger(bigint, bigint, bytea, int[], bigint[], bytea[], int, text)
TO undercroft_app;
GRANT EXECUTE ON FUNCTION current_tenant() TO undercroft_system;

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION create_ledger_log() OWNER TO undercroft_system;
ALTER FUNCTION list_pending_ledgers(uuid, int) OWNER TO undercroft_system;
ALTER FUNCTION find_ledger_checkpoint(uuid) OWNER TO undercroft_system;
ALTER FUNCTION lock_ledger() OWNER TO undercroft_system;
ALTER FUNCTION number_pending_entries(int) OWNER TO undercroft_system;
ALTER FUNCTION advance_ledger(bigint, bigint, bytea, int[], bigint[], bytea[], int, text) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

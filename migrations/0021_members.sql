-- Members: admins manage the users of their tenant, and there is always one of them who can.

ALTER TABLE users
ADD COLUMN revision bigint NOT NULL DEFAULT 1 CHECK (revision >= 1),
-- A service is told from another by its name. People have none here.
ADD CONSTRAINT users_service_names UNIQUE (tenant_id, name);
CREATE INDEX users_acting_admins ON users (tenant_id)
WHERE kind = 'person' AND role = 'admin' AND suspended_at IS NULL;

-- The last admin stays: whatever demotes, suspends or deletes a person who can act as one must leave another. A service is
-- none: its keys are what an admin has to be able to revoke.
--
-- The race: of two admins, each demotes the other (or each steps down) at the same time. Neither transaction sees what the
-- other has not committed, each finds one admin left, and in the end there is none. So the tenant's row is locked before
-- anybody is counted: the second waits here until the first has ended, and its next statement sees what that one has made of
-- it. The lock is taken after the users' own row and held to the end; nothing waits for a user's row while holding it.
-- NO KEY: whatever is inserted for the tenant meanwhile refers to its row and need not wait.
CREATE FUNCTION keep_an_admin() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM tenants AS t WHERE t.id = old.tenant_id FOR NO KEY UPDATE;
    IF NOT EXISTS (
        SELECT FROM users AS u
        WHERE u.tenant_id = old.tenant_id AND u.kind = 'person' AND u.role = 'admin' AND u.suspended_at IS NULL
    ) THEN
        RAISE EXCEPTION 'the tenant would have no admin left'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'tenants_keep_an_admin';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER keep_an_admin AFTER UPDATE OF tenant_id, kind, role, suspended_at ON users
NOT DEFERRABLE FOR EACH ROW
WHEN (
    old.kind = 'person' AND old.role = 'admin' AND old.suspended_at IS NULL
    AND NOT (
        new.tenant_id = old.tenant_id AND new.kind = 'person' AND new.role = 'admin' AND new.suspended_at IS NULL
    )
)
EXECUTE FUNCTION keep_an_admin();
CREATE CONSTRAINT TRIGGER keep_an_admin_at_removal AFTER DELETE ON users
NOT DEFERRABLE FOR EACH ROW
WHEN (old.kind = 'person' AND old.role = 'admin' AND old.suspended_at IS NULL)
EXECUTE FUNCTION keep_an_admin();

-- To lock a row takes the right to change it; the policy lets no change through.
GRANT UPDATE (name) ON tenants TO undercroft_system;
CREATE POLICY lock_row ON tenants FOR UPDATE TO undercroft_system USING (true) WITH CHECK (false);

-- Whoever is suspended is nobody from the next statement on. Their tokens do not come back with them: a reinstated user
-- signs in again, and a service asks again for whom it may act.
CREATE FUNCTION revoke_access_tokens() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE access_tokens SET revoked_at = now()
    WHERE tenant_id = new.tenant_id AND user_id = new.id AND revoked_at IS NULL;
    UPDATE access_tokens SET revoked_at = now()
    WHERE tenant_id = new.tenant_id AND actor_id = new.id AND revoked_at IS NULL;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION revoke_access_tokens() FROM PUBLIC;
CREATE TRIGGER revoke_access_tokens AFTER UPDATE OF suspended_at ON users
FOR EACH ROW WHEN (old.suspended_at IS NULL AND new.suspended_at IS NOT NULL)
EXECUTE FUNCTION revoke_access_tokens();

-- A user who owns anything cannot be removed: the foreign keys of what they own say so. What is left of work that is over
-- is no reason to keep them, and goes with them; work that is not over is one.
CREATE FUNCTION delete_finished_jobs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM jobs WHERE tenant_id = old.tenant_id AND owner_id = old.id AND finished_at IS NOT NULL;
    RETURN old;
END
$$;
CREATE TRIGGER delete_finished_jobs BEFORE DELETE ON users
FOR EACH ROW EXECUTE FUNCTION delete_finished_jobs();

-- As before, and without the counts of who is no user any more, or concerning one: an entry cannot name them.
CREATE OR REPLACE FUNCTION list_refusals(row_limit int)
RETURNS TABLE (tenant_id uuid, actor_id uuid, action text, owner_id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM ledger_refusals AS r
    WHERE r.since <= now() - interval '1 minute'
      AND (
          r.refused <= 10
          OR EXISTS (
              SELECT FROM unnest(ARRAY[r.actor_id, r.owner_id]) AS named (id)
              WHERE named.id IS NOT NULL
                -- The operator is none either, and can be named.
                AND named.id <> 'ffffffff-ffff-ffff-ffff-ffffffffffff'
                AND NOT EXISTS (SELECT FROM users AS u WHERE u.tenant_id = r.tenant_id AND u.id = named.id)
          )
      );
    RETURN QUERY
    SELECT r.tenant_id, r.actor_id, r.action, r.owner_id FROM ledger_refusals AS r
    WHERE r.since <= now() - interval '1 minute' AND r.refused > 10
    ORDER BY r.since LIMIT row_limit;
END
$$;

REVOKE ALL ON FUNCTION keep_an_admin(), delete_finished_jobs() FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION keep_an_admin() OWNER TO undercroft_system;
ALTER FUNCTION delete_finished_jobs() OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Accounts of people: passwords, sessions, codes sent by mail, and how often somebody has tried.

-- Where there is a row, people may make accounts by themselves; elsewhere they are invited. It names the admin who said so:
-- in their name the mails go out to those who are nobody yet.
CREATE TABLE open_sign_ups (
    tenant_id uuid PRIMARY KEY,
    admin_id uuid NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, admin_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

-- When the user proved that mail to the address reaches them. Nothing that is shared with an address works before.
ALTER TABLE users
ADD COLUMN email_verified_at timestamptz,
ADD CONSTRAINT users_verified_address CHECK (email_verified_at IS NULL OR email IS NOT NULL);

-- A hash in the PHC string format, which says its own cost.
CREATE TABLE passwords (
    user_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    encoded text NOT NULL CHECK (encoded LIKE '$argon2id$%' AND char_length(encoded) <= 200),
    changed_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

-- A refresh token is the family's part, the same in all of the session's tokens, and a part of its own. One token is good:
-- token_hash. former_hash is the one before, whose successor former_salt makes again for whoever lost the answer. Who knows
-- the family's part and neither of them has an old token.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    family_hash bytea NOT NULL UNIQUE CHECK (octet_length(family_hash) = 32),
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    former_hash bytea CHECK (octet_length(former_hash) = 32),
    former_salt bytea CHECK (octet_length(former_salt) = 32),
    user_agent text CHECK (char_length(user_agent) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    refreshed_at timestamptz NOT NULL DEFAULT now(),
    -- Unless it is refreshed before; never later than ends_at.
    expires_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN ('signed_out', 'password_changed', 'suspended', 'reused', 'too_many')),
    CHECK (expires_at <= ends_at),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CHECK ((former_hash IS NULL) = (former_salt IS NULL)),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sessions_by_user ON sessions (tenant_id, user_id, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

ALTER TABLE access_tokens
ADD CONSTRAINT access_tokens_session FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id)
ON DELETE CASCADE;

-- user_id is whose code it is; whoever signs up is nobody yet, and has an address instead. A code that was used is deleted.
CREATE TABLE mail_codes (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    user_id uuid,
    email text CHECK (char_length(email) BETWEEN 3 AND 320),
    purpose text NOT NULL CHECK (purpose IN ('sign_up', 'invitation', 'password_reset', 'verification')),
    code_hash bytea NOT NULL UNIQUE CHECK (octet_length(code_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CHECK ((user_id IS NULL) = (purpose = 'sign_up')),
    CHECK ((user_id IS NULL) = (email IS NOT NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mail_codes_by_user ON mail_codes (tenant_id, user_id, purpose);
CREATE INDEX mail_codes_by_email ON mail_codes (tenant_id, email) WHERE email IS NOT NULL;
CREATE INDEX mail_codes_by_expiry ON mail_codes (expires_at);

-- How often somebody has tried what they may not try without end, and when they may try again. The subject is a digest of
-- an account, of a client's address, or of both. Whoever guesses at a tenant that is not there is counted under the id 0,
-- so that it answers as others do: hence no reference to tenants.
CREATE TABLE attempts (
    tenant_id uuid NOT NULL,
    subject bytea NOT NULL CHECK (octet_length(subject) = 32),
    failures int NOT NULL DEFAULT 0 CHECK (failures >= 0),
    last_at timestamptz NOT NULL DEFAULT now(),
    free_at timestamptz NOT NULL DEFAULT now(),
    -- Until when the person is known to use this address.
    known_until timestamptz,
    PRIMARY KEY (tenant_id, subject)
);
CREATE INDEX attempts_by_time ON attempts (last_at);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['open_sign_ups', 'passwords', 'sessions', 'mail_codes', 'attempts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE ON open_sign_ups TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (encoded, changed_at), DELETE ON passwords TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (
    token_hash, former_hash, former_salt, refreshed_at, expires_at, ended_at, end_reason
) ON sessions TO undercroft_app;
GRANT SELECT, INSERT, DELETE ON mail_codes TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (failures, last_at, free_at, known_until) ON attempts TO undercroft_app;

-- What ends a session ends its access tokens ---------------------------------------------------------------------------

CREATE FUNCTION revoke_tokens_of_session() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE access_tokens SET revoked_at = now()
    WHERE tenant_id = new.tenant_id AND session_id = new.id AND revoked_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER revoke_tokens_of_session AFTER UPDATE OF ended_at ON sessions
FOR EACH ROW WHEN (old.ended_at IS NULL AND new.ended_at IS NOT NULL) EXECUTE FUNCTION revoke_tokens_of_session();

-- The other half: none is made for a session that has ended. Without the lock, one that is made while the session ends
-- would be seen by neither of the two.
CREATE FUNCTION require_live_session() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM sessions AS s
    WHERE s.tenant_id = new.tenant_id AND s.id = new.session_id AND s.ended_at IS NULL
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the session has ended' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER require_live_session BEFORE INSERT ON access_tokens
FOR EACH ROW WHEN (new.session_id IS NOT NULL) EXECUTE FUNCTION require_live_session();

-- The same for a user who is suspended.
CREATE FUNCTION end_sessions_of_user() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE sessions SET ended_at = now(), end_reason = 'suspended'
    WHERE tenant_id = new.tenant_id AND user_id = new.id AND ended_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER end_sessions_of_user AFTER UPDATE OF suspended_at ON users
FOR EACH ROW WHEN (old.suspended_at IS NULL AND new.suspended_at IS NOT NULL) EXECUTE FUNCTION end_sessions_of_user();

CREATE FUNCTION require_active_user() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM users AS u
    WHERE u.tenant_id = new.tenant_id AND u.id = new.user_id AND u.suspended_at IS NULL
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user is suspended' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER require_active_user BEFORE INSERT ON sessions
FOR EACH ROW EXECUTE FUNCTION require_active_user();

-- Crossing tenants: before a token or a code is known, nothing tells whose it is ----------------------------------------

CREATE POLICY find_by_token ON sessions FOR SELECT TO undercroft_system USING (true);
CREATE POLICY find_by_code ON mail_codes FOR SELECT TO undercroft_system USING (true);
CREATE POLICY forget ON sessions FOR DELETE TO undercroft_system USING (true);
CREATE POLICY forget ON access_tokens FOR DELETE TO undercroft_system USING (true);
CREATE POLICY forget ON mail_codes FOR DELETE TO undercroft_system USING (true);
CREATE POLICY forget ON attempts TO undercroft_system USING (true);
GRANT SELECT, DELETE ON sessions, mail_codes, attempts TO undercroft_system;
GRANT DELETE ON access_tokens TO undercroft_system;

CREATE FUNCTION find_session(presented_family bytea) RETURNS TABLE (session_id uuid, tenant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT s.id, s.tenant_id, s.user_id FROM sessions AS s WHERE s.family_hash = presented_family $$;

CREATE FUNCTION find_tenant_of_code(presented_hash bytea) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT c.tenant_id FROM mail_codes AS c WHERE c.code_hash = presented_hash AND c.expires_at > now() $$;

-- Rows of no use any more, of all tenants; how many. A session is kept for a month after it ended, so that its entries in
-- the audit can be opened; counts of attempts for a day, or for as long as the address is known.
CREATE FUNCTION forget_ended_sessions(row_limit int) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH tokens AS (
        DELETE FROM access_tokens WHERE id IN (
            SELECT id FROM access_tokens WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT row_limit
        )
        RETURNING 1
    ), ended AS (
        DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions WHERE expires_at < now() - interval '30 days' ORDER BY expires_at LIMIT row_limit
        )
        RETURNING 1
    ), codes AS (
        DELETE FROM mail_codes WHERE id IN (
            SELECT id FROM mail_codes WHERE expires_at < now() ORDER BY expires_at LIMIT row_limit
        )
        RETURNING 1
    ), counts AS (
        DELETE FROM attempts WHERE (tenant_id, subject) IN (
            SELECT tenant_id, subject FROM attempts
            WHERE last_at < now() - interval '1 day' AND (known_until IS NULL OR known_until < now())
            ORDER BY last_at LIMIT row_limit
        )
        RETURNING 1
    )
    SELECT
        (SELECT count(*) FROM tokens) + (SELECT count(*) FROM ended)
        + (SELECT count(*) FROM codes) + (SELECT count(*) FROM counts)
$$;

REVOKE ALL ON FUNCTION find_session(bytea), find_tenant_of_code(bytea), forget_ended_sessions(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_session(bytea), find_tenant_of_code(bytea), forget_ended_sessions(int) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION find_session(bytea) OWNER TO undercroft_system;
ALTER FUNCTION find_tenant_of_code(bytea) OWNER TO undercroft_system;
ALTER FUNCTION forget_ended_sessions(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

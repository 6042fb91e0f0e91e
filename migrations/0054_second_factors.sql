-- A second factor of accounts: one-time passwords by time (RFC 6238), recovery codes, and what a sign-in waits for meanwhile.

-- One of a user. It counts from when a code of it was shown; before, it is an enrolment that was begun.
CREATE TABLE second_factors (
    user_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    sealed_secret bytea NOT NULL CHECK (octet_length(sealed_secret) <= 256),
    begun_at timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    -- The time step of the newest code that was used: neither it nor an older one is good again.
    last_step bigint NOT NULL DEFAULT 0 CHECK (last_step >= 0),
    UNIQUE (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX second_factors_by_data_key ON second_factors (data_key_id);
CREATE TRIGGER delete_key AFTER DELETE ON second_factors FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- A code that was used is deleted.
CREATE TABLE recovery_codes (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    PRIMARY KEY (tenant_id, user_id, code_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES second_factors (tenant_id, user_id) ON DELETE CASCADE
);

-- Somebody has shown their password and not yet their second factor. One that was answered is deleted.
CREATE TABLE sign_in_challenges (
    challenge_hash bytea PRIMARY KEY CHECK (octet_length(challenge_hash) = 32),
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES second_factors (tenant_id, user_id) ON DELETE CASCADE
);
CREATE INDEX sign_in_challenges_by_user ON sign_in_challenges (tenant_id, user_id);
CREATE INDEX sign_in_challenges_by_expiry ON sign_in_challenges (expires_at);

-- Where there is a row, people without a second factor are let in only as far as to enrol one.
CREATE TABLE second_factor_demands (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
    demanded_at timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'second_factors', 'recovery_codes', 'sign_in_challenges', 'second_factor_demands'
    ] LOOP
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
GRANT UPDATE (confirmed_at, last_step) ON second_factors TO undercroft_app;

-- Sessions that were opened by the password alone end when a second factor comes to count, or goes.
ALTER TABLE sessions
DROP CONSTRAINT sessions_end_reason_check,
ADD CONSTRAINT sessions_end_reason_check CHECK (
    end_reason IN ('signed_out', 'password_changed', 'second_factor_changed', 'suspended', 'reused', 'too_many')
);

-- Who a credential makes of its bearer, and whether that is somebody who has to enrol first --------------------------------

CREATE POLICY authenticate ON second_factors FOR SELECT TO undercroft_system USING (true);
CREATE POLICY authenticate ON second_factor_demands FOR SELECT TO undercroft_system USING (true);
GRANT SELECT (tenant_id, user_id, confirmed_at) ON second_factors TO undercroft_system;
GRANT SELECT ON second_factor_demands TO undercroft_system;

CREATE FUNCTION lacks_second_factor(of_tenant uuid, of_user uuid, of_kind text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT of_kind IN ('person', 'guest')
        AND EXISTS (SELECT FROM second_factor_demands AS d WHERE d.tenant_id = of_tenant)
        AND NOT EXISTS (
            SELECT FROM second_factors AS f
            WHERE f.tenant_id = of_tenant AND f.user_id = of_user AND f.confirmed_at IS NOT NULL
        )
$$;
REVOKE ALL ON FUNCTION lacks_second_factor(uuid, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lacks_second_factor(uuid, uuid, text) TO undercroft_system;

DROP FUNCTION authenticate_api_key(bytea);
CREATE FUNCTION authenticate_api_key(presented_hash bytea)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[],
    must_enrol boolean
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT
        k.id, k.tenant_id, k.user_id, NULL::uuid, k.kind, k.role, k.scopes,
        lacks_second_factor(k.tenant_id, k.user_id, k.kind)
    FROM live_api_keys AS k
    WHERE k.key_hash = presented_hash;
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

DROP FUNCTION authenticate_access_token(bytea);
CREATE FUNCTION authenticate_access_token(presented_hash bytea)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[],
    must_enrol boolean
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT
        t.id, t.tenant_id, t.user_id, t.actor_id, t.kind, t.role, t.scopes,
        lacks_second_factor(t.tenant_id, t.user_id, t.kind)
    FROM live_access_tokens AS t
    WHERE t.token_hash = presented_hash
$$;

-- Crossing tenants: before a challenge is known, nothing tells whose it is -------------------------------------------------

CREATE POLICY find_by_challenge ON sign_in_challenges FOR SELECT TO undercroft_system USING (true);
CREATE POLICY forget ON sign_in_challenges FOR DELETE TO undercroft_system USING (true);
GRANT SELECT, DELETE ON sign_in_challenges TO undercroft_system;

CREATE FUNCTION find_sign_in_challenge(presented_hash bytea) RETURNS TABLE (tenant_id uuid, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT c.tenant_id, c.user_id FROM sign_in_challenges AS c
    WHERE c.challenge_hash = presented_hash AND c.expires_at > now()
$$;

-- As it was, and challenges that nobody has answered.
CREATE OR REPLACE FUNCTION forget_ended_sessions(row_limit int) RETURNS bigint
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
    ), challenges AS (
        DELETE FROM sign_in_challenges WHERE challenge_hash IN (
            SELECT challenge_hash FROM sign_in_challenges WHERE expires_at < now() ORDER BY expires_at LIMIT row_limit
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
        (SELECT count(*) FROM tokens) + (SELECT count(*) FROM ended) + (SELECT count(*) FROM codes)
        + (SELECT count(*) FROM challenges) + (SELECT count(*) FROM counts)
$$;

REVOKE ALL ON FUNCTION
authenticate_api_key(bytea), authenticate_access_token(bytea), find_sign_in_challenge(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
authenticate_api_key(bytea), authenticate_access_token(bytea), find_sign_in_challenge(bytea) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION authenticate_api_key(bytea) OWNER TO undercroft_system;
ALTER FUNCTION authenticate_access_token(bytea) OWNER TO undercroft_system;
ALTER FUNCTION find_sign_in_challenge(bytea) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

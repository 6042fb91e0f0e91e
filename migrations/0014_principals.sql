-- Who acts: people, guests from outside, services and share links, with API keys that can be narrower than their owner, and
-- access tokens that end soon.

-- All of them own and are granted things in the same way, so they are rows of one table. A guest was invited to one thing and
-- is not "everyone in the tenant"; a service is a program of the tenant's and a link whoever holds its token: neither has an
-- address to write to.
ALTER TABLE users
ADD COLUMN kind text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'guest', 'service', 'link')),
ADD COLUMN name text CHECK (char_length(name) BETWEEN 1 AND 200),
ADD COLUMN suspended_at timestamptz,
ALTER COLUMN email DROP NOT NULL,
ADD CONSTRAINT users_address CHECK ((kind IN ('service', 'link')) = (email IS NULL)),
ADD CONSTRAINT users_service_name CHECK ((kind = 'service') = (name IS NOT NULL)),
ADD CONSTRAINT users_outsiders_are_members CHECK (kind IN ('person', 'service') OR role = 'member');

-- NULL: everything that its owner may.
ALTER TABLE api_keys ADD COLUMN scopes text[] CHECK (cardinality(scopes) BETWEEN 1 AND 50);

-- user_id is whose rights it carries; actor_id the service that acts for them, where one does.
CREATE TABLE access_tokens (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    actor_id uuid,
    session_id uuid,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    scopes text[] CHECK (cardinality(scopes) BETWEEN 1 AND 50),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, actor_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX access_tokens_by_user ON access_tokens (tenant_id, user_id, id);
CREATE INDEX access_tokens_by_actor ON access_tokens (tenant_id, actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX access_tokens_by_session ON access_tokens (tenant_id, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX access_tokens_by_expiry ON access_tokens (expires_at);

ALTER TABLE access_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE access_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON access_tokens TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON access_tokens TO undercroft_app;
CREATE POLICY authenticate ON access_tokens FOR SELECT TO undercroft_system USING (true);
GRANT SELECT ON access_tokens TO undercroft_system;

-- Who a key or a token makes of its bearer. A suspended user is nobody, and neither is whoever acts for one or as one.
DROP FUNCTION authenticate_api_key(bytea);
CREATE FUNCTION authenticate_api_key(presented_hash bytea)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[]
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT k.id, k.tenant_id, k.user_id, NULL::uuid, u.kind, u.role, k.scopes
    FROM api_keys AS k
    JOIN users AS u ON u.tenant_id = k.tenant_id AND u.id = k.user_id
    WHERE k.key_hash = presented_hash
      AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now())
      AND u.suspended_at IS NULL;
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

CREATE FUNCTION authenticate_access_token(presented_hash bytea)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[]
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT t.id, t.tenant_id, t.user_id, t.actor_id, u.kind, u.role, t.scopes
    FROM access_tokens AS t
    JOIN users AS u ON u.tenant_id = t.tenant_id AND u.id = t.user_id
    LEFT JOIN users AS a ON a.tenant_id = t.tenant_id AND a.id = t.actor_id
    WHERE t.token_hash = presented_hash
      AND t.revoked_at IS NULL
      AND t.expires_at > now()
      AND u.suspended_at IS NULL
      AND a.suspended_at IS NULL
$$;

GRANT CREATE ON SCHEMA public TO undercroft_system;
REVOKE ALL ON FUNCTION authenticate_api_key(bytea), authenticate_access_token(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_api_key(bytea), authenticate_access_token(bytea) TO undercroft_app;
ALTER FUNCTION authenticate_api_key(bytea) OWNER TO undercroft_system;
ALTER FUNCTION authenticate_access_token(bytea) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

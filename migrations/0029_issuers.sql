-- Issuers of tokens from outside (OpenID Connect), so that a product's own users need no second account.

-- The audience ends with the tenant's own id. So a token names its tenant, no two tenants can register the same pair, and
-- nobody can register somebody else's issuer and have that issuer's users taken for their own: those tokens are made for
-- another audience.
CREATE TABLE issuers (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    url text NOT NULL CHECK (char_length(url) BETWEEN 9 AND 500),
    audience text NOT NULL CHECK (char_length(audience) <= 500),
    algorithms text[] NOT NULL CHECK (
        cardinality(algorithms) BETWEEN 1 AND 10
        AND algorithms <@ ARRAY[
            'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'
        ]
    ),
    subject_claim text NOT NULL CHECK (char_length(subject_claim) BETWEEN 1 AND 100),
    creates_users boolean NOT NULL,
    trusts_addresses boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (url, audience),
    CONSTRAINT issuers_own_audience CHECK (
        audience ~ '(^|[/:])tenant_[0-9a-f]{32}$' AND right(audience, 32) = replace(tenant_id::text, '-', '')
    ),
    -- Otherwise nobody would ever get in.
    CONSTRAINT issuers_let_somebody_in CHECK (creates_users OR trusts_addresses)
);

-- Who an issuer means by a subject. By its URL: a registration that is made again finds the same people.
CREATE TABLE issuer_users (
    tenant_id uuid NOT NULL,
    issuer text NOT NULL CHECK (char_length(issuer) <= 500),
    subject text NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 255),
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, issuer, subject),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX issuer_users_by_user ON issuer_users (tenant_id, user_id);

-- Whoever comes by an issuer may have no address with us.
ALTER TABLE users
DROP CONSTRAINT users_address,
ADD CONSTRAINT users_address CHECK (kind IN ('person', 'guest') OR email IS NULL);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['issuers', 'issuer_users'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('CREATE POLICY authenticate ON %I FOR SELECT TO undercroft_system USING (true)', table_name);
        EXECUTE format('GRANT SELECT ON %I TO undercroft_system', table_name);
    END LOOP;
END
$$;
-- UPDATE of one column: a row can only be locked by whoever may change it.
GRANT SELECT, INSERT, UPDATE (creates_users), DELETE ON issuers TO undercroft_app;
GRANT SELECT, INSERT, DELETE ON issuer_users TO undercroft_app;

-- Before its signature is checked, a token says by whom and for whom it was issued; that names the registration to check it by.
CREATE FUNCTION find_issuers(presented_url text, presented_audiences text[])
RETURNS TABLE (
    id uuid, tenant_id uuid, url text, audience text, algorithms text[], subject_claim text, creates_users boolean,
    trusts_addresses boolean, created_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT
        i.id, i.tenant_id, i.url, i.audience, i.algorithms, i.subject_claim, i.creates_users, i.trusts_addresses, i.created_at
    FROM issuers AS i
    WHERE i.url = presented_url AND i.audience = ANY(presented_audiences)
    LIMIT 2
$$;

-- Who a token that was checked makes of its bearer, while the registration that it was checked by stands.
CREATE FUNCTION authenticate_issued(presented_issuer uuid, presented_subject text)
RETURNS TABLE (
    credential_id uuid, tenant_id uuid, user_id uuid, actor_id uuid, kind text, role text, scopes text[]
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT i.id, i.tenant_id, u.id, NULL::uuid, u.kind, u.role, NULL::text[]
    FROM issuers AS i
    JOIN issuer_users AS m ON m.tenant_id = i.tenant_id AND m.issuer = i.url AND m.subject = presented_subject
    JOIN users AS u ON u.tenant_id = m.tenant_id AND u.id = m.user_id
    WHERE i.id = presented_issuer AND u.suspended_at IS NULL
$$;

GRANT CREATE ON SCHEMA public TO undercroft_system;
REVOKE ALL ON FUNCTION find_issuers(text, text[]), authenticate_issued(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_issuers(text, text[]), authenticate_issued(uuid, text) TO undercroft_app;
ALTER FUNCTION find_issuers(text, text[]) OWNER TO undercroft_system;
ALTER FUNCTION authenticate_issued(uuid, text) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

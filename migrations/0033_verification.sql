-- Verification: what somebody holds is held against what is kept now, before it is known whose it is. docs/verify.md.

-- A proof names its log, and that decides whose tenant it is looked up in.
CREATE FUNCTION find_log_tenant(log_id uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT l.tenant_id FROM ledger_logs AS l WHERE l.id = log_id $$;
REVOKE ALL ON FUNCTION find_log_tenant(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_log_tenant(uuid) TO undercroft_app;

-- Links: whoever holds the token, as from a QR code, is told whether one version of a document is there unchanged.

CREATE TABLE verification_links (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    -- By whose right to read it the link counts, and for what they said it was.
    creator_id uuid NOT NULL,
    purpose purpose_code,
    -- NULL once it was erased: that is what the link says from then on.
    document_id uuid,
    document_version int NOT NULL CHECK (document_version >= 1),
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    UNIQUE (tenant_id, id),
    CONSTRAINT verification_links_end_after_they_begin CHECK (expires_at > created_at),
    FOREIGN KEY (tenant_id, creator_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE SET NULL (document_id)
);
CREATE INDEX verification_links_by_creator ON verification_links (tenant_id, creator_id, id);
CREATE INDEX verification_links_by_document ON verification_links (tenant_id, document_id)
WHERE document_id IS NOT NULL;

ALTER TABLE verification_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE verification_links FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON verification_links TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE (revoked_at) ON verification_links TO undercroft_app;

-- Before a token is known nothing tells whose tenant it is of, nor by whose right it counts.
CREATE FUNCTION find_verification_link(presented_hash bytea)
RETURNS TABLE (link_id uuid, tenant_id uuid, creator_id uuid, purpose text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT l.id, l.tenant_id, l.creator_id, l.purpose FROM verification_links AS l WHERE l.token_hash = presented_hash
$$;
REVOKE ALL ON FUNCTION find_verification_link(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_verification_link(bytea) TO undercroft_app;
CREATE POLICY verify ON verification_links FOR SELECT TO undercroft_system USING (true);
GRANT SELECT (id, tenant_id, creator_id, purpose, token_hash) ON verification_links TO undercroft_system;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION find_log_tenant(uuid) OWNER TO undercroft_system;
ALTER FUNCTION find_verification_link(bytea) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Share links: whoever holds the token acts as a principal of its own, who holds one grant and owns nothing.

CREATE TABLE share_links (
    -- The user, of the kind link, to whom the grant is made out.
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    -- A hash in the PHC string format.
    passcode text CHECK (passcode LIKE '$argon2id$%' AND char_length(passcode) <= 200),
    -- To whom a code is sent that opens the link, encrypted.
    data_key_id uuid,
    sealed_email bytea CHECK (octet_length(sealed_email) <= 1024),
    code_hash bytea CHECK (octet_length(code_hash) = 32),
    code_expires_at timestamptz,
    codes_sent int NOT NULL DEFAULT 0 CHECK (codes_sent BETWEEN 0 AND 5),
    is_one_time boolean NOT NULL,
    redemptions int NOT NULL DEFAULT 0 CHECK (redemptions >= 0),
    -- Wrong passcodes and codes: a link that was guessed at too often opens for nobody.
    failures int NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND 10),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    CHECK ((data_key_id IS NULL) = (sealed_email IS NULL)),
    CHECK ((code_hash IS NULL) = (code_expires_at IS NULL)),
    CHECK (code_hash IS NULL OR sealed_email IS NOT NULL),
    CHECK (redemptions <= 1 OR NOT is_one_time),
    FOREIGN KEY (tenant_id, id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX share_links_by_grant ON share_links (tenant_id, grant_id);
CREATE INDEX share_links_by_data_key ON share_links (data_key_id) WHERE data_key_id IS NOT NULL;

ALTER TABLE share_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE share_links FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON share_links TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE (
    code_hash, code_expires_at, codes_sent, redemptions, failures
), DELETE ON share_links TO undercroft_app;

CREATE TRIGGER delete_key AFTER DELETE ON share_links
FOR EACH ROW WHEN (old.data_key_id IS NOT NULL) EXECUTE FUNCTION delete_data_key();

-- A link is good for its grant alone: what ends the one ends the tokens of the other, its last use too. What still runs then
-- does so in the name of the link's principal and under its grant, not by the token: a last use goes on (list_lost_releases).
CREATE FUNCTION revoke_tokens_of_link() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE access_tokens AS t SET revoked_at = now()
    FROM share_links AS l
    WHERE l.tenant_id = new.tenant_id AND l.grant_id = new.id
      AND t.tenant_id = l.tenant_id AND t.user_id = l.id AND t.revoked_at IS NULL;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION revoke_tokens_of_link() FROM PUBLIC;
CREATE TRIGGER revoke_tokens_of_link AFTER UPDATE OF ended_at ON grants
FOR EACH ROW WHEN (old.ended_at IS NULL AND new.ended_at IS NOT NULL) EXECUTE FUNCTION revoke_tokens_of_link();

-- Before a token is known nothing tells whose tenant it opens.
CREATE FUNCTION find_share_link(presented_hash bytea) RETURNS TABLE (tenant_id uuid, link_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT l.tenant_id, l.id FROM share_links AS l WHERE l.token_hash = presented_hash $$;
REVOKE ALL ON FUNCTION find_share_link(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_share_link(bytea) TO undercroft_app;
CREATE POLICY redeem ON share_links FOR SELECT TO undercroft_system USING (true);
GRANT SELECT (id, tenant_id, token_hash) ON share_links TO undercroft_system;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION find_share_link(bytea) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

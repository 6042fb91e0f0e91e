-- Answers that are kept for a day alone, for whoever repeats the request: chat completions with an idempotency key. The key
-- is forgotten after a day, and what was made under it a little later, so that nobody finds the one without the other.
ALTER TABLE responses ADD COLUMN expires_at timestamptz;
CREATE INDEX responses_by_expiry ON responses (expires_at) WHERE expires_at IS NOT NULL;

-- Those whose time is over, of all tenants; each is deleted under its own tenant.
CREATE FUNCTION list_expired_responses(row_limit int) RETURNS TABLE (tenant_id uuid, response_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT r.tenant_id, r.id FROM responses AS r
    WHERE r.expires_at <= now()
    ORDER BY r.expires_at, r.id LIMIT row_limit
$$;
REVOKE ALL ON FUNCTION list_expired_responses(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_expired_responses(int) TO undercroft_app;
GRANT SELECT (id, tenant_id, expires_at) ON responses TO undercroft_system;
CREATE POLICY sweep ON responses FOR SELECT TO undercroft_system USING (true);
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_expired_responses(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

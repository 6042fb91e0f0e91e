-- Verification: what somebody holds is held against what is kept now, before it is known whose it is. docs/verify.md.

-- A proof names its log, and that decides whose tenant it is looked up in.
CREATE FUNCTION find_log_tenant(log_id uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT l.tenant_id FROM ledger_logs AS l WHERE l.id = log_id $$;
REVOKE ALL ON FUNCTION find_log_tenant(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_log_tenant(uuid) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION find_log_tenant(uuid) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- What the service says to the outside: mail to people, and webhooks to the programs of a tenant.

-- Mail ----------------------------------------------------------------------------------------------------------------

-- Mail that is still to be sent. To whom and what is encrypted: it can hold a code that lets somebody in.
CREATE TABLE outgoing_mail (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    data_key_id uuid NOT NULL,
    sealed_message bytea NOT NULL CHECK (octet_length(sealed_message) <= 400000),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX outgoing_mail_by_data_key ON outgoing_mail (data_key_id);
CREATE INDEX outgoing_mail_by_age ON outgoing_mail (created_at, id);

ALTER TABLE outgoing_mail ENABLE ROW LEVEL SECURITY;
ALTER TABLE outgoing_mail FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON outgoing_mail TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, DELETE ON outgoing_mail TO undercroft_app;

CREATE TRIGGER delete_key AFTER DELETE ON outgoing_mail FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- Mail that no job sends any more: of a tenant whose key was destroyed, or put back by a restore, which leaves jobs out.
CREATE FUNCTION list_overdue_mail(row_limit int) RETURNS TABLE (tenant_id uuid, mail_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT m.tenant_id, m.id FROM outgoing_mail AS m
    WHERE m.created_at < now() - interval '1 day'
    ORDER BY m.created_at, m.id LIMIT row_limit
$$;
REVOKE ALL ON FUNCTION list_overdue_mail(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_overdue_mail(int) TO undercroft_app;
GRANT SELECT (id, tenant_id, created_at) ON outgoing_mail TO undercroft_system;
CREATE POLICY sweep ON outgoing_mail FOR SELECT TO undercroft_system USING (true);

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_overdue_mail(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

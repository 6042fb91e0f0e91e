-- Where a tenant has come to demand a second factor, what already runs for people without one is cut as well.

-- Those of some users who have to enrol a second factor before they do anything else: what runs in a process is of every
-- tenant, and is asked about at once. Not whoever comes by an issuer, which asks them in its own way: by which of the two they
-- began what runs is not known any more.
CREATE FUNCTION list_owing_factors(user_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT u.id
    FROM users AS u
    JOIN second_factor_demands AS d ON d.tenant_id = u.tenant_id
    WHERE u.id = ANY(user_ids)
      AND lacks_second_factor(u.tenant_id, u.id, u.kind)
      AND NOT EXISTS (SELECT FROM issuer_users AS m WHERE m.tenant_id = u.tenant_id AND m.user_id = u.id)
$$;
REVOKE ALL ON FUNCTION list_owing_factors(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_owing_factors(uuid[]) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_owing_factors(uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

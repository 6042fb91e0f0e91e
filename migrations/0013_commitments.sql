-- The first entry that commits to the content of a version, for whoever holds versions against the ledger: its bytes have
-- '"content":"'. Without one, whether an entry about the version still waits for its number.
CREATE FUNCTION find_commitment(subject text, subject_version integer)
RETURNS TABLE (entry_id uuid, leaf bytea, is_pending boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
SELECT
    e.id,
    e.leaf,
    e.id IS NULL AND EXISTS (
        SELECT FROM ledger_pending AS p
        WHERE p.tenant_id = current_tenant() AND p.resource = subject AND p.version = subject_version
    )
FROM (VALUES (true)) AS one
LEFT JOIN LATERAL (
    SELECT a.id, a.leaf
    FROM ledger_entries AS a
    WHERE
        a.tenant_id = current_tenant()
        AND a.resource = subject
        AND a.version = subject_version
        AND a.outcome = 'allowed'
        AND position('\x22636f6e74656e74223a22'::bytea IN a.leaf) > 0
    ORDER BY a.occurred_at, a.position
    LIMIT 1
) AS e ON true
$$;
REVOKE ALL ON FUNCTION find_commitment(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_commitment(text, integer) TO undercroft_app;

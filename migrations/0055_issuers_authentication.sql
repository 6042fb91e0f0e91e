-- How an issuer has to have authenticated its users: ASVS 5.0, 6.8.4.

-- Nothing of either list, and no age: it is not asked. A registration that is there goes on as it was.
ALTER TABLE issuers
ADD COLUMN acr_values text[] NOT NULL DEFAULT '{}' CHECK (
    cardinality(acr_values) <= 10 AND char_length(array_to_string(acr_values, '')) <= 2000
),
ADD COLUMN amr_values text[] NOT NULL DEFAULT '{}' CHECK (
    cardinality(amr_values) <= 10 AND char_length(array_to_string(amr_values, '')) <= 2000
),
ADD COLUMN longest_auth_age int CHECK (longest_auth_age BETWEEN 60 AND 31536000);

DROP FUNCTION find_issuers(text, text[]);
CREATE FUNCTION find_issuers(presented_url text, presented_audiences text[])
RETURNS TABLE (
    id uuid, tenant_id uuid, url text, audience text, algorithms text[], subject_claim text, creates_users boolean,
    trusts_addresses boolean, acr_values text[], amr_values text[], longest_auth_age int, created_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT
        i.id, i.tenant_id, i.url, i.audience, i.algorithms, i.subject_claim, i.creates_users, i.trusts_addresses,
        i.acr_values, i.amr_values, i.longest_auth_age, i.created_at
    FROM issuers AS i
    WHERE i.url = presented_url AND i.audience = ANY(presented_audiences)
    LIMIT 2
$$;

GRANT CREATE ON SCHEMA public TO undercroft_system;
REVOKE ALL ON FUNCTION find_issuers(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_issuers(text, text[]) TO undercroft_app;
ALTER FUNCTION find_issuers(text, text[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

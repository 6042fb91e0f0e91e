-- Collections under grants: what of them shows, and what stands in one by a grant.

-- The collections that are shared with somebody, in the order in which they are listed; and search asks for them.
CREATE INDEX grants_of_collections ON grants (tenant_id, grantee_id, collection_id)
WHERE collection_id IS NOT NULL AND ended_at IS NULL;

-- What the caller's grants of another's collection let them do together.
CREATE FUNCTION actions_on_collection(collection uuid) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT a.action), '{}')
    FROM grants AS g
    CROSS JOIN LATERAL unnest(g.actions) AS a (action)
    WHERE g.tenant_id = current_tenant()
      AND g.resource_id = collection
      AND g.grantee_id = ANY(current_grantees())
      AND is_live(g)
$$;

-- Whether what stands in a collection by a grant is there at all for whoever may do this with the collection; NULL is its
-- owner. Of anything that neither grant allows they may not even know. The same as ways_to_document decides of one document.
CREATE FUNCTION shows_member(member_grant uuid, allowed text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM grants AS g
        WHERE g.tenant_id = current_tenant()
          AND g.id = member_grant
          AND is_live(g)
          AND (allowed IS NULL OR g.actions && allowed)
    )
$$;

REVOKE ALL ON FUNCTION actions_on_collection(uuid), shows_member(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION actions_on_collection(uuid), shows_member(uuid, text[]) TO undercroft_app;

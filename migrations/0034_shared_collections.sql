-- Collections under grants: what of them shows, and what stands in one by a grant.

-- The collections that are shared with somebody, in the order in which they are listed; and search asks for them.
CREATE INDEX grants_of_collections ON grants (tenant_id, grantee_id, collection_id)
WHERE collection_id IS NOT NULL AND ended_at IS NULL;

-- What the caller's grants of another's collection let them do together.
CREATE FUNCTION granted_actions_on(collection uuid) RETURNS text[]
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

-- What the caller may do with a collection: NULL for their own, all of it. A part of the statement, as shows_member is.
CREATE FUNCTION actions_on_collection(c collections) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN c.owner_id <> current_principal() THEN granted_actions_on(c.id) END;

-- What stands in collections: the current versions of documents that are not in the trash.
CREATE VIEW collection_members WITH (security_invoker = true) AS
SELECT
    m.tenant_id,
    m.collection_id,
    m.document_id,
    m.attributes,
    m.added_at,
    m.grant_id,
    d.owner_id,
    b.id AS blob_id,
    b.data_key_id,
    b.byte_size,
    b.index_state,
    b.index_error_code,
    b.index_error_message
FROM collection_documents AS m
INNER JOIN documents AS d ON m.document_id = d.id
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
WHERE d.deleted_at IS NULL;
GRANT SELECT ON collection_members TO undercroft_app;

-- Whether a grant by which something stands in a collection shows it to whoever may do this with the collection; NULL is its
-- owner. Of anything that neither grant allows they may not even know. The same as ways_to_document decides of one document.
CREATE FUNCTION grant_shows_member(member_grant uuid, allowed text[]) RETURNS boolean
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

-- Whether a member is there for them: without a grant it stands there by its owner's will. It has no settings of its own, so
-- that it becomes part of the statement, and only grants are asked about one by one.
CREATE FUNCTION shows_member(member collection_members, allowed text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN member.grant_id IS NULL
OR member.owner_id = current_principal()
OR grant_shows_member(member.grant_id, allowed);

-- What there is for them, counted.
CREATE FUNCTION count_members(collection uuid, allowed text[])
RETURNS TABLE (members bigint, completed bigint, failed bigint, byte_size bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT
        count(*),
        count(*) FILTER (WHERE m.index_state = 'indexed'),
        count(*) FILTER (WHERE m.index_state = 'failed'),
        coalesce(sum(m.byte_size), 0)::bigint
    FROM collection_members AS m
    WHERE m.collection_id = collection AND shows_member(m, allowed)
$$;

REVOKE ALL ON FUNCTION
    granted_actions_on(uuid), actions_on_collection(collections), grant_shows_member(uuid, text[]),
    shows_member(collection_members, text[]), count_members(uuid, text[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    granted_actions_on(uuid), actions_on_collection(collections), grant_shows_member(uuid, text[]),
    shows_member(collection_members, text[]), count_members(uuid, text[])
TO undercroft_app;

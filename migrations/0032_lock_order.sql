-- One order of locks: a thing, then what is asked about it, then the consents to it, then the grants of it, a grant before
-- those that derive from it (the order of ids), then what stands in a collection by a grant, and the links to it.

-- The foreign keys of what is deleted would lock what refers to it in the order in which they were made: memberships before
-- the grants that they stand by, and grants before the consents that they rest on. Whoever revokes or withdraws goes the
-- other way. The row itself is locked before this.
CREATE FUNCTION lock_before_delete() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM consents AS c
    WHERE c.tenant_id = old.tenant_id AND c.resource_id = old.id ORDER BY c.id FOR NO KEY UPDATE;
    PERFORM FROM grants AS g
    WHERE g.tenant_id = old.tenant_id
      AND g.id IN (
          SELECT list_derived_grants(
              ARRAY(
                  SELECT r.id FROM grants AS r
                  WHERE r.tenant_id = old.tenant_id
                    AND (r.document_id = old.id OR r.collection_id = old.id OR r.record_id = old.id)
              )
          )
      )
    ORDER BY g.id FOR UPDATE;
    RETURN old;
END
$$;
CREATE TRIGGER lock_before_delete BEFORE DELETE ON documents FOR EACH ROW EXECUTE FUNCTION lock_before_delete();
CREATE TRIGGER lock_before_delete BEFORE DELETE ON collections FOR EACH ROW EXECUTE FUNCTION lock_before_delete();
CREATE TRIGGER lock_before_delete BEFORE DELETE ON records FOR EACH ROW EXECUTE FUNCTION lock_before_delete();

-- Keeps a thing from being deleted until the transaction ends, whatever kind of thing it is.
CREATE FUNCTION hold_thing(resource uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM documents AS d WHERE d.tenant_id = current_tenant() AND d.id = resource FOR KEY SHARE;
    PERFORM FROM collections AS c WHERE c.tenant_id = current_tenant() AND c.id = resource FOR KEY SHARE;
    PERFORM FROM records AS r WHERE r.tenant_id = current_tenant() AND r.id = resource FOR KEY SHARE;
    PERFORM FROM responses AS a WHERE a.tenant_id = current_tenant() AND a.id = resource FOR KEY SHARE;
END
$$;

REVOKE ALL ON FUNCTION lock_before_delete(), hold_thing(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hold_thing(uuid) TO undercroft_app;

-- What runs under grants ends with whatever it rests on: also when a document is taken out of the vector store by which it
-- was reached, when the reader or the service that acts for them is suspended, and when a grant whose last use still runs
-- loses what it rests on.

-- Whether something may still run under a grant: it has not ended, or its last use has begun and was not cut.
CREATE FUNCTION may_run(g grants) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN g.ended_at IS NULL OR g.ending = 'used_up' AND g.cut_at IS NULL;
REVOKE ALL ON FUNCTION may_run(grants) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION may_run(grants) TO undercroft_app;

-- As before, and of what was used up what its last use still does.
CREATE OR REPLACE FUNCTION end_unconsented_grants() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM end_grants(
        ARRAY(
            SELECT g.id
            FROM grants AS g
            LEFT JOIN consents AS c ON c.id = g.consent_id
            WHERE g.tenant_id = new.tenant_id
              AND (g.document_id = new.id OR g.collection_id = new.id OR g.record_id = new.id)
              AND may_run(g)
              AND data_subject_of(new.id, g.fields) IS DISTINCT FROM c.subject_id
              AND data_subject_of(new.id, g.fields) IS NOT NULL
        ),
        'unconsented'
    );
    RETURN NULL;
END
$$;

-- The same.
CREATE OR REPLACE FUNCTION end_grants_of_former_member() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM end_grants(
        ARRAY(
            SELECT c.id
            FROM grants AS p
            JOIN grants AS c ON c.tenant_id = p.tenant_id AND c.parent_id = p.id
            WHERE p.tenant_id = old.tenant_id AND p.group_id = old.group_id
              AND c.grantor_id = old.user_id AND may_run(c)
        ),
        'left_group'
    );
    DELETE FROM collection_documents AS m
    USING grants AS p
    WHERE p.tenant_id = old.tenant_id AND p.group_id = old.group_id
      AND m.tenant_id = p.tenant_id AND m.grant_id = p.id AND m.added_by = old.user_id;
    RETURN NULL;
END
$$;

-- With when the last use was cut.
DROP VIEW described_grants;
CREATE VIEW described_grants WITH (security_invoker = true) AS
SELECT
    g.id,
    g.tenant_id,
    g.document_id,
    g.collection_id,
    g.record_id,
    g.response_id,
    g.resource_id,
    g.grantor_id,
    g.parent_id,
    g.user_id,
    g.group_id,
    g.grantee_id,
    g.actions,
    g.fields,
    g.sections,
    g.purpose,
    g.not_before,
    g.expires_at,
    g.max_uses,
    g.uses,
    g.model_use,
    g.created_at,
    g.ended_at,
    g.ending,
    g.cut_at,
    g.consent_id,
    g.pages::text AS pages,
    coalesce(d.owner_id, c.owner_id, r.owner_id, a.owner_id) AS owner_id
FROM grants AS g
LEFT JOIN documents AS d ON g.document_id = d.id
LEFT JOIN collections AS c ON g.collection_id = c.id
LEFT JOIN records AS r ON g.record_id = r.id
LEFT JOIN responses AS a ON g.response_id = a.id;
GRANT SELECT ON described_grants TO undercroft_app;

-- As before, and that a last use was cut.
CREATE OR REPLACE FUNCTION tell_of_grant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF tg_op = 'UPDATE' AND new.cut_at IS NOT NULL THEN
        PERFORM note_event(new.tenant_id, 'grant.cut', describe_granted(new));
        RETURN NULL;
    END IF;
    IF tg_op = 'UPDATE' THEN
        PERFORM note_event(
            new.tenant_id,
            CASE new.ending WHEN 'used_up' THEN 'grant.used_up' ELSE 'grant.revoked' END,
            describe_granted(new) || jsonb_build_object('reason', new.ending)
        );
        RETURN NULL;
    END IF;
    PERFORM note_event(
        new.tenant_id,
        'grant.created',
        describe_granted(new) || jsonb_build_object('expires_at', extract(epoch FROM new.expires_at)::bigint)
    );
    -- A guest has to be told, since they may never have heard of this service. Not by whoever writes to everybody: the bound
    -- is a courtesy, so that two at once may both pass it does not matter.
    PERFORM owe_letter(new.tenant_id, new.user_id, new.grantor_id, 'shared')
    FROM users AS u
    WHERE u.tenant_id = new.tenant_id AND u.id = new.user_id AND u.kind = 'guest'
      AND 50 > (
          SELECT count(*) FROM letters AS l
          WHERE l.tenant_id = new.tenant_id AND l.cause_id = new.grantor_id AND l.kind = 'shared'
            AND l.created_at > now() - interval '1 day'
      );
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_cut AFTER UPDATE OF cut_at ON grants
FOR EACH ROW WHEN (old.cut_at IS NULL AND new.cut_at IS NOT NULL) EXECUTE FUNCTION tell_of_grant();

-- Which of these do not carry any more what runs: each a document, by one grant of those that it is read under, for whom and
-- by which service. Without a grant it is in a vector store of the reader's by its owner's will. Answers their places.
--
-- Having been used up is no reason: that is the last use. Purposes do not change while something runs.
DROP FUNCTION list_ended_grants(uuid[], uuid[]);
CREATE FUNCTION list_lost_releases(holder_ids uuid[], actor_ids uuid[], document_ids uuid[], grant_ids uuid[])
RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT r.place
    FROM unnest(holder_ids, actor_ids, document_ids, grant_ids) WITH ORDINALITY
        AS r (holder_id, actor_id, document_id, grant_id, place)
    LEFT JOIN documents AS d ON d.id = r.document_id
    LEFT JOIN grants AS g ON g.id = r.grant_id
    WHERE d.id IS NULL
       OR d.deleted_at IS NOT NULL
       OR EXISTS (
           SELECT FROM users AS u WHERE u.id IN (r.holder_id, r.actor_id) AND u.suspended_at IS NOT NULL
       )
       OR CASE
           WHEN r.grant_id IS NULL THEN NOT EXISTS (
               SELECT FROM collection_documents AS m
               JOIN collections AS c ON c.id = m.collection_id
               WHERE m.tenant_id = d.tenant_id AND m.document_id = d.id AND m.grant_id IS NULL
                 AND c.owner_id = r.holder_id
           )
           WHEN g.id IS NULL THEN true
           ELSE g.ending <> 'used_up'
               OR g.cut_at IS NOT NULL
               OR g.expires_at <= statement_timestamp()
               -- The grant is of a vector store: the document has to be in it still.
               OR g.collection_id IS NOT NULL AND NOT EXISTS (
                   SELECT FROM collection_documents AS m
                   WHERE m.tenant_id = g.tenant_id AND m.collection_id = g.collection_id AND m.document_id = d.id
               )
               -- It is not the reader's (any more): then the document has to be in a vector store by it.
               OR NOT EXISTS (
                   SELECT FROM users AS u
                   WHERE u.id = r.holder_id AND u.tenant_id = g.tenant_id
                     AND CASE
                         WHEN g.user_id IS NOT NULL THEN g.user_id = u.id
                         WHEN g.group_id IS NULL THEN u.kind IN ('person', 'service')
                         ELSE EXISTS (
                             SELECT FROM group_members AS m
                             WHERE m.tenant_id = g.tenant_id AND m.group_id = g.group_id AND m.user_id = u.id
                         )
                     END
               )
               AND NOT EXISTS (
                   SELECT FROM collection_documents AS m
                   WHERE m.tenant_id = g.tenant_id AND m.grant_id = g.id AND m.document_id = d.id
               )
       END
$$;
GRANT SELECT (user_id, collection_id) ON grants TO undercroft_system;
GRANT SELECT (deleted_at) ON documents TO undercroft_system;
GRANT SELECT (collection_id, document_id) ON collection_documents TO undercroft_system;
GRANT SELECT (id, owner_id) ON collections TO undercroft_system;
CREATE POLICY watch ON collections FOR SELECT TO undercroft_system USING (true);
REVOKE ALL ON FUNCTION list_lost_releases(uuid[], uuid[], uuid[], uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_lost_releases(uuid[], uuid[], uuid[], uuid[]) TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_lost_releases(uuid[], uuid[], uuid[], uuid[]) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

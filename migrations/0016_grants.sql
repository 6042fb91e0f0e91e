-- Grants: who but its owner may do what with a document, a collection, a record or a stored answer, and the functions by
-- which every statement asks. docs/adr/0015 says why the database decides.

CREATE DOMAIN purpose_code AS text CHECK (value ~ '^[a-z][a-z0-9_.:-]{0,63}$');

CREATE TABLE grants (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    -- One of them: foreign keys, so that a grant can neither outlive its resource nor be made while that is deleted.
    document_id uuid,
    collection_id uuid,
    record_id uuid,
    response_id uuid,
    resource_id uuid NOT NULL GENERATED ALWAYS AS (coalesce(document_id, collection_id, record_id, response_id)) STORED,
    -- Who made it, and under which grant; NULL for the resource's owner.
    grantor_id uuid NOT NULL,
    parent_id uuid,
    -- One of them, or neither: everyone in the tenant.
    user_id uuid,
    group_id uuid,
    grantee_id uuid NOT NULL GENERATED ALWAYS AS (coalesce(user_id, group_id, tenant_id)) STORED,
    actions text[] NOT NULL CHECK (
        cardinality(actions) BETWEEN 1 AND 7
        AND actions <@ ARRAY['search', 'read', 'read_parts', 'download', 'comment', 'write', 'share']
    ),
    -- Of a record the fields below these JSON Pointers, of a document these pages and sections; NULL for all.
    fields text[] CHECK (cardinality(fields) BETWEEN 1 AND 100),
    pages int4multirange CHECK (NOT isempty(pages)),
    sections text[] CHECK (cardinality(sections) BETWEEN 0 AND 100),
    purpose purpose_code,
    not_before timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    max_uses int CHECK (max_uses >= 1),
    uses int NOT NULL DEFAULT 0 CHECK (uses >= 0),
    -- What models may do with it; NULL for everything.
    model_use text[] CHECK (model_use <@ ARRAY['quote', 'summarise', 'external']),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    ending text CHECK (ending IN ('revoked', 'used_up', 'withdrawn', 'left_group', 'unconsented')),
    -- When a grant that was used up was ended all the same, for what its last use still did.
    cut_at timestamptz CONSTRAINT grants_are_cut_after_their_last_use CHECK (cut_at IS NULL OR ending = 'used_up'),
    -- What a grant of something personal rests on (migration 0025).
    consent_id uuid,
    UNIQUE (tenant_id, id),
    CHECK (num_nonnulls(document_id, collection_id, record_id, response_id) = 1),
    CHECK (num_nonnulls(user_id, group_id) <= 1),
    CHECK (fields IS NULL OR record_id IS NOT NULL),
    CHECK (num_nonnulls(pages, sections) = 0 OR document_id IS NOT NULL),
    -- Whoever may see a part of a document may not see the whole of it.
    CHECK (num_nonnulls(pages, sections) = 0 OR NOT actions && ARRAY['read', 'download', 'write']),
    CONSTRAINT grants_end_after_they_begin CHECK (expires_at > not_before),
    CHECK (uses <= max_uses),
    CHECK ((ended_at IS NULL) = (ending IS NULL)),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, collection_id) REFERENCES collections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, response_id) REFERENCES responses (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grantor_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, group_id) REFERENCES groups (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, parent_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
-- The check of one resource asks for one resource and the caller's few grantees, however many grants either has.
CREATE INDEX grants_by_resource ON grants (tenant_id, resource_id, grantee_id) WHERE ended_at IS NULL;
CREATE INDEX grants_by_grantee ON grants (tenant_id, grantee_id, resource_id, id) WHERE ended_at IS NULL;
CREATE INDEX grants_by_grantor ON grants (tenant_id, grantor_id, id);
CREATE INDEX grants_by_parent ON grants (tenant_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX grants_by_document ON grants (tenant_id, document_id, id) WHERE document_id IS NOT NULL;
CREATE INDEX grants_by_collection ON grants (tenant_id, collection_id, id) WHERE collection_id IS NOT NULL;
CREATE INDEX grants_by_record ON grants (tenant_id, record_id, id) WHERE record_id IS NOT NULL;
CREATE INDEX grants_by_response ON grants (tenant_id, response_id, id) WHERE response_id IS NOT NULL;
CREATE INDEX grants_by_user ON grants (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX grants_by_group ON grants (tenant_id, group_id) WHERE group_id IS NOT NULL;

ALTER TABLE grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE grants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON grants TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE (uses, ended_at, ending, cut_at), DELETE ON grants TO undercroft_app;

-- A grant as it is answered, with whose the resource is.
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

-- What lets the document be in the collection: the owner's will (NULL), or a grant to share it, with which it leaves.
ALTER TABLE collection_documents
ADD COLUMN added_by uuid,
ADD COLUMN grant_id uuid,
ADD CHECK (grant_id IS NULL OR added_by IS NOT NULL),
ADD FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX collection_documents_by_grant ON collection_documents (tenant_id, grant_id) WHERE grant_id IS NOT NULL;

-- Who asks -------------------------------------------------------------------------------------------------------------

-- What the caller says it is for (Undercroft-Purpose).
CREATE FUNCTION current_purpose() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('undercroft.purpose', true), '');

-- What a grant can be made out to, for it to be the caller's: themselves, their groups, and everyone in the tenant, which
-- guests and links are not.
CREATE FUNCTION current_grantees() RETURNS uuid[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT ARRAY(
        SELECT current_principal()
        UNION ALL
        SELECT m.group_id FROM group_members AS m
        WHERE m.tenant_id = current_tenant() AND m.user_id = current_principal()
        UNION ALL
        SELECT u.tenant_id FROM users AS u
        WHERE u.tenant_id = current_tenant() AND u.id = current_principal() AND u.kind IN ('person', 'service')
    )
$$;

-- Whether a grant counts at this statement. By the database's clock, and not by the transaction's beginning: a long
-- transaction must not outlive what it reads under.
CREATE FUNCTION is_live(g grants) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN g.ended_at IS NULL
AND g.not_before <= statement_timestamp()
AND (g.expires_at IS NULL OR g.expires_at > statement_timestamp())
AND (g.purpose IS NULL OR g.purpose = current_purpose());

-- Whether something may still run under a grant: it has not ended, or its last use has begun and was not cut.
CREATE FUNCTION may_run(g grants) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN g.ended_at IS NULL OR g.ending = 'used_up' AND g.cut_at IS NULL;

-- What a grant limits, for the service: it selects fields and parts of what was decrypted, and puts the grant on record.
CREATE FUNCTION describe_grant(g grants) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_strip_nulls(jsonb_build_object(
    'id', g.id,
    'fields', g.fields,
    'pages', g.pages::text,
    'sections', g.sections,
    'model_use', g.model_use,
    'limited', g.max_uses IS NOT NULL OR NULL
));

-- What is allowed ------------------------------------------------------------------------------------------------------

-- Every way in which the caller may do something with a thing that is not theirs: an array of ways, each an array of the
-- grants that it rests on together. NULL when there is none. Of what is theirs nobody asks.
CREATE FUNCTION ways_to(resource uuid, wanted text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(describe_grant(g)) ORDER BY g.id)
    FROM grants AS g
    WHERE g.tenant_id = current_tenant()
      AND g.resource_id = resource
      AND g.grantee_id = ANY(current_grantees())
      AND wanted = ANY(g.actions)
      AND is_live(g)
$$;

-- The same for a document, which may also be in a collection. The collection's owner and whoever is granted it see what
-- others have put into it, and change only what is the collection's owner's own. What is in the trash is its owner's alone,
-- and what is sealed nobody searches.
--
-- Without joins by hash or merge: a merge with all grants of the tenant, in the order of what they are on, looked cheaper to
-- the planner than to look for those on the document's collections, and took 200 ms of a million.
CREATE FUNCTION ways_to_document(document uuid, wanted text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH me AS MATERIALIZED (
        SELECT current_grantees() AS grantees
    ), own AS MATERIALIZED (
        SELECT d.id, d.owner_id FROM documents AS d
        WHERE d.id = document AND d.deleted_at IS NULL AND NOT (d.is_sealed AND wanted = 'search')
    ), way AS (
        SELECT jsonb_build_array(describe_grant(g)) AS grants
        FROM own AS d
        JOIN grants AS g ON g.resource_id = d.id
        WHERE g.tenant_id = current_tenant()
          AND g.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])
          AND wanted = ANY(g.actions)
          AND is_live(g)
        UNION ALL
        SELECT
            CASE WHEN c.owner_id = current_principal() THEN '[]' ELSE jsonb_build_array(describe_grant(cg)) END
            || CASE WHEN m.grant_id IS NULL THEN '[]' ELSE jsonb_build_array(describe_grant(mg)) END
        FROM own AS d
        JOIN collection_documents AS m ON m.document_id = d.id
        JOIN collections AS c ON c.id = m.collection_id
        LEFT JOIN grants AS cg
            ON c.owner_id <> current_principal()
            AND cg.tenant_id = current_tenant()
            AND cg.resource_id = c.id
            AND cg.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])
            AND wanted = ANY(cg.actions)
            AND is_live(cg)
        LEFT JOIN grants AS mg ON mg.id = m.grant_id
        WHERE m.tenant_id = current_tenant()
          AND (c.owner_id = current_principal() OR cg.id IS NOT NULL)
          AND (m.grant_id IS NULL OR is_live(mg) AND wanted = ANY(mg.actions))
          AND (wanted IN ('search', 'read', 'read_parts', 'download', 'comment') OR d.owner_id = c.owner_id)
    )
    SELECT jsonb_agg(way.grants) FROM way
$$;

-- Using, ending, sharing on --------------------------------------------------------------------------------------------
--
-- Lock order: a grant before those that derive from it. Ids are made in the order of time, so that is the order of ids.

-- A grant and those that it derives from.
CREATE FUNCTION list_grant_chain(grant_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE chain AS (
        SELECT g.id, g.parent_id FROM grants AS g WHERE g.tenant_id = current_tenant() AND g.id = ANY(grant_ids)
        UNION
        SELECT p.id, p.parent_id FROM chain AS c JOIN grants AS p ON p.tenant_id = current_tenant() AND p.id = c.parent_id
    )
    SELECT id FROM chain
$$;

-- Those grants, and whatever derives from them.
CREATE FUNCTION list_derived_grants(grant_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE derived AS (
        SELECT g.id FROM grants AS g WHERE g.tenant_id = current_tenant() AND g.id = ANY(grant_ids)
        UNION
        SELECT c.id FROM derived AS p JOIN grants AS c ON c.tenant_id = current_tenant() AND c.parent_id = p.id
    )
    SELECT id FROM derived
$$;

-- Ends grants and whatever derives from them: grants made under them, and documents put into collections by them. Answers
-- what has ended; what was used up ends once more, unless that is the reason again, as its last use may still run.
CREATE FUNCTION end_grants(grant_ids uuid[], reason text) RETURNS SETOF uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    gone uuid[];
BEGIN
    -- What is there already is locked at once and in the order of ids. With the given ones first and what derives from them
    -- afterwards, whoever uses one of the latter and one of the former (use_grants) could hold the one and wait for the other.
    PERFORM FROM grants AS g
    WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT list_derived_grants(grant_ids))
    ORDER BY g.id FOR NO KEY UPDATE;
    -- Whoever shares on holds every grant of the chain (hold_grant_chain): they have committed when this has the lock, and
    -- the next statement, with a snapshot of its own, sees what they made; or they wait, and find that it has ended. Those
    -- that have ended are locked too: the last use may have been taken while this waited (use_grants).
    gone := ARRAY(
        SELECT g.id FROM grants AS g
        WHERE g.tenant_id = current_tenant() AND g.id IN (SELECT list_derived_grants(grant_ids))
        ORDER BY g.id FOR NO KEY UPDATE
    );
    DELETE FROM collection_documents AS m WHERE m.tenant_id = current_tenant() AND m.grant_id = ANY(gone);
    RETURN QUERY
    UPDATE grants AS g SET
        ended_at = coalesce(g.ended_at, clock_timestamp()),
        ending = coalesce(g.ending, reason),
        cut_at = CASE WHEN g.ended_at IS NOT NULL THEN clock_timestamp() END
    WHERE g.tenant_id = current_tenant() AND g.id = ANY(gone)
      AND (g.ended_at IS NULL OR g.ending = 'used_up' AND g.cut_at IS NULL AND reason <> 'used_up')
    RETURNING g.id;
END
$$;

-- Holds a grant and what it derives from until the end of the transaction, for something to be made under it. False when
-- one of them has ended.
CREATE FUNCTION hold_grant_chain(grant_id uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    chain uuid[] := ARRAY(SELECT list_grant_chain(ARRAY[grant_id]));
BEGIN
    PERFORM FROM grants AS g
    WHERE g.tenant_id = current_tenant() AND g.id = ANY(chain) ORDER BY g.id FOR SHARE;
    -- That the caller is still in the group it was made out to, against their being taken out of it at the same time: then
    -- what they make now would not be seen by the trigger that ends it.
    PERFORM FROM group_members AS m
    JOIN grants AS g ON g.group_id = m.group_id
    WHERE g.tenant_id = current_tenant() AND g.id = hold_grant_chain.grant_id AND m.user_id = current_principal()
    FOR KEY SHARE OF m;
    RETURN (
        SELECT bool_and(is_live(g)) FROM grants AS g WHERE g.tenant_id = current_tenant() AND g.id = ANY(chain)
    ) AND EXISTS (
        SELECT FROM grants AS g
        WHERE g.tenant_id = current_tenant() AND g.id = hold_grant_chain.grant_id
          AND g.grantee_id = ANY(current_grantees())
    );
END
$$;

-- Counts one use of each grant, and of what it derives from, where uses are counted at all. False, and nothing counted for
-- good, when one of them has none left: of two at once for the last use the second waits for the lock and is told so.
CREATE FUNCTION use_grants(grant_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    counted uuid[];
    used uuid[];
    spent uuid[];
BEGIN
    counted := ARRAY(
        SELECT g.id FROM grants AS g
        WHERE g.tenant_id = current_tenant()
          AND g.id IN (SELECT list_grant_chain(grant_ids))
          AND g.max_uses IS NOT NULL
        ORDER BY g.id FOR NO KEY UPDATE
    );
    WITH one AS (
        UPDATE grants AS g SET uses = g.uses + 1
        WHERE g.tenant_id = current_tenant() AND g.id = ANY(counted) AND g.ended_at IS NULL AND g.uses < g.max_uses
        RETURNING g.id, g.uses = g.max_uses AS is_spent
    )
    SELECT array_agg(one.id), array_agg(one.id) FILTER (WHERE one.is_spent) INTO used, spent FROM one;
    IF cardinality(counted) > coalesce(cardinality(used), 0) THEN
        RETURN false;
    END IF;
    PERFORM end_grants(spent, 'used_up');
    RETURN true;
END
$$;

-- Whoever leaves a group takes along what they shared on as its member.
CREATE FUNCTION end_grants_of_former_member() RETURNS trigger
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
CREATE TRIGGER end_grants AFTER DELETE ON group_members
FOR EACH ROW EXECUTE FUNCTION end_grants_of_former_member();

-- Headings are words of the document: with the tenant's keys destroyed they must not stay. '{}' is no section at all.
CREATE FUNCTION forget_shared_sections() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE grants SET sections = '{}'
    WHERE tenant_id = new.tenant_id AND document_id IS NOT NULL AND cardinality(sections) > 0;
    RETURN NULL;
END
$$;
GRANT UPDATE (sections) ON grants TO undercroft_app;
CREATE TRIGGER forget_shared_sections AFTER UPDATE OF wrapped_key ON tenant_keys
FOR EACH ROW WHEN (new.is_current AND new.wrapped_key IS NULL) EXECUTE FUNCTION forget_shared_sections();

-- What search reads of it -------------------------------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['grants', 'group_members', 'users'] LOOP
        EXECUTE format('CREATE POLICY search ON %I FOR SELECT TO undercroft_search USING (true)', table_name);
    END LOOP;
END
$$;
GRANT SELECT ON grants, group_members TO undercroft_search;
GRANT SELECT (id, tenant_id, kind) ON users TO undercroft_search;

REVOKE ALL ON FUNCTION
    current_grantees(), is_live(grants), may_run(grants), describe_grant(grants), ways_to(uuid, text),
    ways_to_document(uuid, text), list_grant_chain(uuid[]), list_derived_grants(uuid[]), end_grants(uuid[], text),
    hold_grant_chain(uuid), use_grants(uuid[]), end_grants_of_former_member(), forget_shared_sections()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    current_grantees(), is_live(grants), may_run(grants), describe_grant(grants), ways_to(uuid, text),
    ways_to_document(uuid, text), list_grant_chain(uuid[]), list_derived_grants(uuid[]), end_grants(uuid[], text),
    hold_grant_chain(uuid), use_grants(uuid[])
TO undercroft_app;
GRANT EXECUTE ON FUNCTION current_grantees(), is_live(grants) TO undercroft_search;
-- Nobody changes it: without some right to UPDATE a row cannot be locked, as hold_grant_chain does.
GRANT UPDATE (added_at) ON group_members TO undercroft_app;

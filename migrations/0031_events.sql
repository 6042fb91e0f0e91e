-- What happens is told: to a tenant's programs as events (docs/webhooks.md), to people by mail. Triggers note it, in the
-- transaction of what happened and whatever way it came about, and a worker tells it afterwards: what is rolled back was
-- never noted, and what was committed is told after a crash as well.

-- An event that no worker has put in line yet. Facts are ids, codes, numbers and times; src/undercroft/notifications/events.py
-- says which. Nothing is noted that no webhook of the tenant takes.
CREATE TABLE pending_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    event_type text NOT NULL CHECK (event_type ~ '^[a-z_]{1,40}\.[a-z_]{1,40}$'),
    facts jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object' AND octet_length(facts::text) <= 4096),
    happened_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pending_events_by_tenant ON pending_events (tenant_id, id);

-- A letter that is owed to somebody, and one that was sent within the day: of one kind a person gets one in an hour, however
-- much there is to tell. cause_id is whose act it tells of.
CREATE TABLE letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    recipient_id uuid NOT NULL,
    cause_id uuid NOT NULL,
    kind text NOT NULL CHECK (
        kind IN ('access_asked', 'access_answered', 'consent_asked', 'consent_withdrawn', 'shared')
    ),
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    FOREIGN KEY (tenant_id, recipient_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX letters_by_recipient ON letters (tenant_id, recipient_id, kind, id);
CREATE INDEX letters_by_cause ON letters (tenant_id, cause_id, kind, created_at);
CREATE INDEX letters_owed ON letters (id) WHERE sent_at IS NULL;
CREATE INDEX letters_sent ON letters (sent_at) WHERE sent_at IS NOT NULL;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['pending_events', 'letters'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('CREATE POLICY note ON %I TO undercroft_system USING (true) WITH CHECK (true)', table_name);
    END LOOP;
END
$$;
-- The service tells what was noted; it notes nothing.
-- Locking a row takes the right to change a column of it.
GRANT SELECT, DELETE, UPDATE (happened_at) ON pending_events TO undercroft_app;
GRANT SELECT, UPDATE (sent_at) ON letters TO undercroft_app;
GRANT SELECT, INSERT, DELETE, UPDATE (happened_at) ON pending_events TO undercroft_system;
GRANT SELECT, INSERT, DELETE ON letters TO undercroft_system;
CREATE POLICY note ON webhook_endpoints FOR SELECT TO undercroft_system USING (true);
GRANT SELECT (tenant_id, state, event_types) ON webhook_endpoints TO undercroft_system;
GRANT SELECT (id, tenant_id, controller_id) ON consents TO undercroft_system;

-- Where no worker runs, what has waited for thirty days is forgotten, which is how long a message is kept. Each
-- event takes ten with it, so that what has piled up goes sooner than it came. SKIP LOCKED: a worker may be telling them.
CREATE FUNCTION note_event(tenant uuid, type_name text, facts jsonb) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH outdated AS MATERIALIZED (
        SELECT p.id FROM pending_events AS p
        WHERE p.id IN (SELECT o.id FROM pending_events AS o WHERE o.tenant_id = tenant ORDER BY o.id LIMIT 10)
          AND p.happened_at < now() - interval '30 days'
        FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM pending_events AS p USING outdated AS o WHERE p.id = o.id
    )
    INSERT INTO pending_events (tenant_id, event_type, facts)
    SELECT tenant, type_name, jsonb_strip_nulls(facts)
    WHERE EXISTS (
        SELECT FROM webhook_endpoints AS e
        WHERE e.tenant_id = tenant AND e.state = 'enabled' AND type_name = ANY(e.event_types)
    )
$$;

-- One letter tells of all that there is, so that where no worker runs ten that are owed are enough.
CREATE FUNCTION owe_letter(tenant uuid, recipient uuid, cause uuid, letter_kind text) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
    INSERT INTO letters (tenant_id, recipient_id, cause_id, kind)
    SELECT tenant, recipient, cause, letter_kind
    WHERE 10 > (
        SELECT count(*) FROM (
            SELECT FROM letters AS l
            WHERE l.tenant_id = tenant AND l.recipient_id = recipient AND l.kind = letter_kind AND l.sent_at IS NULL
            LIMIT 10
        ) AS owed
    )
$$;

-- Grants ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION describe_granted(g grants) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object(
    'grant', g.id,
    'document', g.document_id,
    'collection', g.collection_id,
    'record', g.record_id,
    'response', g.response_id,
    'grantor', g.grantor_id
);

CREATE FUNCTION tell_of_grant() RETURNS trigger
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
CREATE TRIGGER tell AFTER INSERT ON grants FOR EACH ROW EXECUTE FUNCTION tell_of_grant();
CREATE TRIGGER tell_of_end AFTER UPDATE OF ended_at ON grants
FOR EACH ROW WHEN (old.ended_at IS NULL AND new.ended_at IS NOT NULL) EXECUTE FUNCTION tell_of_grant();
CREATE TRIGGER tell_of_cut AFTER UPDATE OF cut_at ON grants
FOR EACH ROW WHEN (old.cut_at IS NULL AND new.cut_at IS NOT NULL) EXECUTE FUNCTION tell_of_grant();

-- Access requests --------------------------------------------------------------------------------------------------------

-- When a worker has told that it was asked. Not the statement that keeps the question: of what is not there nothing is told,
-- and the asker would see how long it takes.
ALTER TABLE access_requests ADD COLUMN announced_at timestamptz;
CREATE INDEX access_requests_unannounced ON access_requests (id) WHERE announced_at IS NULL;

CREATE FUNCTION tell_of_access_request() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF old.announced_at IS NULL AND new.announced_at IS NOT NULL THEN
        PERFORM note_event(
            new.tenant_id,
            'access_request.created',
            jsonb_build_object(
                'access_request', new.id, 'owner', new.owner_id, 'expires_at', extract(epoch FROM new.expires_at)::bigint
            )
        );
        IF new.state = 'pending' THEN
            PERFORM owe_letter(new.tenant_id, new.owner_id, new.asker_id, 'access_asked');
        END IF;
    END IF;
    IF old.state = 'pending' AND new.state <> 'pending' THEN
        PERFORM note_event(
            new.tenant_id,
            'access_request.' || new.state,
            jsonb_build_object('access_request', new.id, 'owner', new.owner_id, 'grant', new.grant_id)
        );
        IF new.state <> 'expired' THEN
            PERFORM owe_letter(new.tenant_id, new.asker_id, new.owner_id, 'access_answered');
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER UPDATE OF state, announced_at ON access_requests
FOR EACH ROW EXECUTE FUNCTION tell_of_access_request();

-- Tells of what was asked since the last time, whoever was; how much that was. Of two workers each takes what the other has
-- not locked.
CREATE FUNCTION announce_access_requests(row_limit int) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH fresh AS (
        SELECT r.id FROM access_requests AS r
        WHERE r.announced_at IS NULL
        ORDER BY r.id LIMIT row_limit
        FOR NO KEY UPDATE SKIP LOCKED
    ), told AS (
        UPDATE access_requests AS r SET announced_at = now() FROM fresh AS f WHERE r.id = f.id RETURNING r.id
    )
    SELECT count(*) FROM told
$$;
GRANT SELECT (announced_at), UPDATE (announced_at) ON access_requests TO undercroft_system;

-- Share links ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION tell_of_share_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    facts jsonb := jsonb_build_object('share_link', new.id, 'grant', new.grant_id);
BEGIN
    IF tg_op = 'INSERT' THEN
        PERFORM note_event(new.tenant_id, 'share_link.created', facts);
        RETURN NULL;
    END IF;
    PERFORM note_event(
        new.tenant_id, 'share_link.redeemed', facts || jsonb_build_object('redemptions', new.redemptions)
    );
    IF new.is_one_time THEN
        PERFORM note_event(new.tenant_id, 'share_link.exhausted', facts);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON share_links FOR EACH ROW EXECUTE FUNCTION tell_of_share_link();
CREATE TRIGGER tell_of_use AFTER UPDATE OF redemptions ON share_links
FOR EACH ROW WHEN (new.redemptions > old.redemptions) EXECUTE FUNCTION tell_of_share_link();

-- Consents ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION tell_of_consent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    consent record;
BEGIN
    SELECT c.subject_id, c.controller_id INTO STRICT consent FROM consents AS c
    WHERE c.tenant_id = new.tenant_id AND c.id = new.consent_id;
    PERFORM note_event(
        new.tenant_id,
        'consent.' || new.event,
        jsonb_build_object(
            'consent', new.consent_id, 'subject', consent.subject_id, 'controller', consent.controller_id
        )
    );
    IF consent.subject_id = consent.controller_id THEN
        RETURN NULL; -- nobody is written to about what they did themselves
    END IF;
    IF new.event = 'asked' THEN
        PERFORM owe_letter(new.tenant_id, consent.subject_id, consent.controller_id, 'consent_asked');
    ELSIF new.event = 'withdrawn' THEN
        PERFORM owe_letter(new.tenant_id, consent.controller_id, consent.subject_id, 'consent_withdrawn');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON consent_events FOR EACH ROW EXECUTE FUNCTION tell_of_consent();

-- Users ------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION tell_of_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        PERFORM note_event(
            new.tenant_id, 'user.created', jsonb_build_object('user', new.id, 'kind', new.kind, 'role', new.role)
        );
    ELSE
        PERFORM note_event(old.tenant_id, 'user.removed', jsonb_build_object('user', old.id, 'kind', old.kind));
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON users FOR EACH ROW WHEN (new.kind <> 'link') EXECUTE FUNCTION tell_of_user();
CREATE TRIGGER tell_of_removal AFTER DELETE ON users
FOR EACH ROW WHEN (old.kind <> 'link') EXECUTE FUNCTION tell_of_user();

-- Documents --------------------------------------------------------------------------------------------------------------

CREATE FUNCTION tell_of_document() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    document documents := CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
BEGIN
    PERFORM note_event(
        document.tenant_id,
        CASE
            WHEN tg_op = 'INSERT' THEN 'document.created'
            WHEN tg_op = 'DELETE' THEN 'document.erased'
            WHEN document.deleted_at IS NULL THEN 'document.restored'
            ELSE 'document.deleted'
        END,
        jsonb_build_object('document', document.id, 'owner', document.owner_id)
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT OR DELETE ON documents FOR EACH ROW EXECUTE FUNCTION tell_of_document();
CREATE TRIGGER tell_of_trash AFTER UPDATE OF deleted_at ON documents
FOR EACH ROW WHEN ((old.deleted_at IS NULL) <> (new.deleted_at IS NULL)) EXECUTE FUNCTION tell_of_document();

-- What workers look for, over all tenants: ids alone -----------------------------------------------------------------------

-- Whoever has waited longest, one event of each tenant: a tenant with a thousand does not keep the others.
CREATE FUNCTION list_tenants_with_events(row_limit int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH RECURSIVE oldest AS (
        (SELECT p.tenant_id, p.id FROM pending_events AS p ORDER BY p.tenant_id, p.id LIMIT 1)
        UNION ALL
        SELECT n.tenant_id, n.id
        FROM oldest AS o
        CROSS JOIN LATERAL (
            SELECT p.tenant_id, p.id FROM pending_events AS p
            WHERE p.tenant_id > o.tenant_id ORDER BY p.tenant_id, p.id LIMIT 1
        ) AS n
    )
    SELECT o.tenant_id FROM oldest AS o ORDER BY o.id LIMIT row_limit
$$;

-- To whom a letter is owed, and no such one went within the hour.
CREATE FUNCTION list_owed_letters(row_limit int) RETURNS TABLE (tenant_id uuid, recipient_id uuid, kind text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT o.tenant_id, o.recipient_id, o.kind
    FROM (SELECT DISTINCT l.tenant_id, l.recipient_id, l.kind FROM letters AS l WHERE l.sent_at IS NULL) AS o
    WHERE NOT EXISTS (
        SELECT FROM letters AS s
        WHERE s.tenant_id = o.tenant_id AND s.recipient_id = o.recipient_id AND s.kind = o.kind
          AND s.sent_at > now() - interval '1 hour'
    )
    LIMIT row_limit
$$;

-- Forgets what was sent more than a day ago; how much that was.
CREATE FUNCTION forget_letters(row_limit int) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH gone AS (
        DELETE FROM letters WHERE id IN (
            SELECT l.id FROM letters AS l WHERE l.sent_at < now() - interval '1 day' ORDER BY l.sent_at LIMIT row_limit
        )
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON FUNCTION
    note_event(uuid, text, jsonb), owe_letter(uuid, uuid, uuid, text), describe_granted(grants), tell_of_grant(),
    tell_of_access_request(), tell_of_share_link(), tell_of_consent(), tell_of_user(), tell_of_document(),
    announce_access_requests(int), list_tenants_with_events(int), list_owed_letters(int), forget_letters(int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    announce_access_requests(int), list_tenants_with_events(int), list_owed_letters(int), forget_letters(int)
TO undercroft_app;
GRANT EXECUTE ON FUNCTION
    note_event(uuid, text, jsonb), owe_letter(uuid, uuid, uuid, text), describe_granted(grants)
TO undercroft_system;

GRANT CREATE ON SCHEMA public TO undercroft_system;
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'tell_of_grant()', 'tell_of_access_request()', 'tell_of_share_link()', 'tell_of_consent()', 'tell_of_user()',
        'tell_of_document()', 'announce_access_requests(int)', 'list_tenants_with_events(int)', 'list_owed_letters(int)', 'forget_letters(int)'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO undercroft_system', signature);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Keys by which a POST that is repeated has one effect and one answer.

CREATE TABLE idempotency_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    principal_id uuid NOT NULL,
    -- The method and the path's template.
    route text NOT NULL CHECK (char_length(route) BETWEEN 1 AND 200),
    -- SHA-256 of the key and of who acts for the principal. The key itself is kept nowhere: answers are sealed with it.
    key_digest bytea NOT NULL CHECK (octet_length(key_digest) = 32),
    -- NULL until the answer is there, at the end of the transaction; and once what it is about was erased.
    data_key_id uuid,
    sealed_answer bytea CHECK (octet_length(sealed_answer) BETWEEN 57 AND 2097152),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    UNIQUE (tenant_id, id),
    CHECK ((data_key_id IS NULL) = (sealed_answer IS NULL)),
    -- The one lock that all of this rests on: of two transactions that insert the same key one waits until the other has
    -- ended, and then finds it.
    CONSTRAINT idempotency_keys_once UNIQUE (tenant_id, principal_id, route, key_digest),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX idempotency_keys_by_data_key ON idempotency_keys (data_key_id);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (expires_at, id);
CREATE INDEX idempotency_keys_by_principal ON idempotency_keys (tenant_id, principal_id, expires_at);

-- What a kept answer is about: whatever it names by an id.
CREATE TABLE idempotency_subjects (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    idempotency_key_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, subject_id, idempotency_key_id),
    FOREIGN KEY (tenant_id, idempotency_key_id) REFERENCES idempotency_keys (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idempotency_subjects_by_key ON idempotency_subjects (tenant_id, idempotency_key_id);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['idempotency_keys', 'idempotency_subjects'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
    END LOOP;
END
$$;
GRANT SELECT, INSERT, DELETE, UPDATE (data_key_id, sealed_answer) ON idempotency_keys TO undercroft_app;
GRANT SELECT, INSERT, DELETE ON idempotency_subjects TO undercroft_app;

CREATE TRIGGER delete_key AFTER DELETE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- Takes a key for the caller's transaction: 'claimed'; 'known', of an earlier request; 'busy', of one that goes on; or
-- 'full', when the principal has as many as are kept for one.
--
-- Two requests with one key: the second waits here for the first one's transaction, for a moment alone, since it holds a
-- connection meanwhile; whoever finds it still going on is told to come again.
CREATE FUNCTION claim_idempotency_key(
    new_id uuid, on_route text, digest bytea, most_keys int, most_bytes bigint
) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    kept record;
BEGIN
    SELECT count(*) AS keys, coalesce(sum(octet_length(k.sealed_answer)), 0) AS bytes INTO kept
    FROM (
        SELECT sealed_answer FROM idempotency_keys
        WHERE tenant_id = current_tenant() AND principal_id = current_principal() AND expires_at > now()
        LIMIT most_keys
    ) AS k;
    IF kept.keys >= most_keys OR kept.bytes >= most_bytes THEN
        -- One that is known is answered all the same.
        RETURN CASE WHEN EXISTS (
            SELECT FROM idempotency_keys
            WHERE
                tenant_id = current_tenant() AND principal_id = current_principal()
                AND route = on_route AND key_digest = digest AND expires_at > now()
        ) THEN 'known' ELSE 'full' END;
    END IF;
    -- What is over.
    DELETE FROM idempotency_keys
    WHERE
        tenant_id = current_tenant() AND principal_id = current_principal()
        AND route = on_route AND key_digest = digest AND expires_at <= now();
    INSERT INTO idempotency_keys (id, tenant_id, principal_id, route, key_digest)
    VALUES (new_id, current_tenant(), current_principal(), on_route, digest)
    ON CONFLICT ON CONSTRAINT idempotency_keys_once DO NOTHING;
    RETURN CASE WHEN found THEN 'claimed' ELSE 'known' END;
EXCEPTION WHEN lock_not_available THEN
    RETURN 'busy';
END
$$;
REVOKE ALL ON FUNCTION claim_idempotency_key(uuid, text, bytea, int, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_idempotency_key(uuid, text, bytea, int, bigint) TO undercroft_app;

-- Whatever deletes a thing takes the answers about it along, and their keys. That they were given stays known: a late
-- retry must not make the thing anew.
CREATE FUNCTION forget_answers() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    key_ids uuid[];
BEGIN
    WITH about AS (
        SELECT k.id, k.data_key_id FROM idempotency_subjects AS s
        INNER JOIN idempotency_keys AS k ON s.tenant_id = k.tenant_id AND s.idempotency_key_id = k.id
        WHERE s.tenant_id = old.tenant_id AND s.subject_id = old.id AND k.data_key_id IS NOT NULL
        ORDER BY k.id FOR UPDATE OF k
    ), forgotten AS (
        UPDATE idempotency_keys AS k SET data_key_id = NULL, sealed_answer = NULL
        FROM about WHERE k.id = about.id
        RETURNING about.data_key_id
    )
    SELECT array_agg(data_key_id) INTO key_ids FROM forgotten;
    DELETE FROM data_keys WHERE id = ANY(key_ids);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION forget_answers() FROM PUBLIC;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'documents', 'document_comments', 'records', 'schemas', 'collections', 'uploads', 'responses',
        'webhook_endpoints', 'access_requests', 'groups', 'api_keys', 'users', 'issuers'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER forget_answers AFTER DELETE ON %I FOR EACH ROW EXECUTE FUNCTION forget_answers()', table_name
        );
    END LOOP;
END
$$;

-- Keys whose day is over, of all tenants; their answers are deleted under each one's own tenant.
CREATE FUNCTION list_expired_idempotency_keys(row_limit int) RETURNS TABLE (tenant_id uuid, key_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.tenant_id, k.id FROM idempotency_keys AS k
    WHERE k.expires_at <= now()
    ORDER BY k.expires_at, k.id LIMIT row_limit
$$;
REVOKE ALL ON FUNCTION list_expired_idempotency_keys(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_expired_idempotency_keys(int) TO undercroft_app;
GRANT SELECT (id, tenant_id, expires_at) ON idempotency_keys TO undercroft_system;
CREATE POLICY sweep ON idempotency_keys FOR SELECT TO undercroft_system USING (true);

GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_expired_idempotency_keys(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

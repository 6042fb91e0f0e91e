-- Consent: what is personal is shared only while whom it is about agrees, for what they agreed to. docs/consent.md.

-- What is personal ------------------------------------------------------------------------------------------------------

-- Whom a document or a vector store is about; NULL where it is not personal. Of a record the schema says which fields are
-- personal, and this whom they are about, where that is not its owner.
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['documents', 'collections', 'records'] LOOP
        EXECUTE format(
            'ALTER TABLE %I ADD COLUMN data_subject_id uuid,'
            ' ADD FOREIGN KEY (tenant_id, data_subject_id) REFERENCES users (tenant_id, id)',
            table_name
        );
        EXECUTE format(
            'CREATE INDEX %I ON %I (tenant_id, data_subject_id) WHERE data_subject_id IS NOT NULL',
            table_name || '_by_data_subject', table_name
        );
        EXECUTE format('GRANT UPDATE (data_subject_id) ON %I TO undercroft_app', table_name);
    END LOOP;
END
$$;
-- JSON Pointers, as in grants.fields: names of fields, no values.
ALTER TABLE schema_versions
ADD COLUMN personal_fields text[] NOT NULL DEFAULT '{}' CHECK (cardinality(personal_fields) <= 32);

-- What is agreed to -----------------------------------------------------------------------------------------------------

-- What somebody is told before they agree. Its text is encrypted; in the clear is what the database decides by.
CREATE TABLE notices (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    -- Another purpose is another notice: a consent is renewed for what was agreed to and nothing else.
    purpose purpose_code NOT NULL,
    current_version int NOT NULL DEFAULT 1 CHECK (current_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, id, purpose),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX notices_by_data_key ON notices (data_key_id);

CREATE TABLE notice_versions (
    tenant_id uuid NOT NULL,
    notice_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    sealed_content bytea NOT NULL,
    validity_days int NOT NULL CHECK (validity_days BETWEEN 1 AND 3650),
    retention_days int CHECK (retention_days BETWEEN 1 AND 36500),
    erases boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (notice_id, number),
    UNIQUE (tenant_id, notice_id, number),
    FOREIGN KEY (tenant_id, notice_id) REFERENCES notices (tenant_id, id)
);

-- It outlives what it is about: that it was given and withdrawn can be shown afterwards. Then resource_id alone is left.
CREATE TABLE consents (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    notice_id uuid NOT NULL,
    notice_version int NOT NULL,
    purpose purpose_code NOT NULL,
    document_id uuid,
    collection_id uuid,
    record_id uuid,
    resource_id uuid NOT NULL,
    resource_kind text NOT NULL CHECK (resource_kind IN ('document', 'collection', 'record')),
    subject_id uuid NOT NULL,
    controller_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'given', 'refused', 'withdrawn', 'expired')),
    asked_at timestamptz NOT NULL DEFAULT now(),
    given_at timestamptz,
    valid_until timestamptz,
    -- The clock of the retention that the notice promised: runs from the day of the consent, and is stopped by its end.
    retain_until timestamptz,
    -- Since when the thing has to be erased, because the notice promised it.
    erase_after timestamptz,
    ended_at timestamptz,
    -- What the ledger's commitments to the consent are made with.
    ledger_salt bytea NOT NULL
    DEFAULT (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) CHECK (octet_length(ledger_salt) = 32),
    UNIQUE (tenant_id, id),
    CHECK (num_nonnulls(document_id, collection_id, record_id) <= 1),
    CHECK (coalesce(document_id, collection_id, record_id, resource_id) = resource_id),
    CHECK ((state IN ('given', 'withdrawn', 'expired')) = (given_at IS NOT NULL)),
    CHECK ((given_at IS NULL) = (valid_until IS NULL)),
    CHECK (valid_until > given_at),
    CHECK ((state IN ('refused', 'withdrawn', 'expired')) = (ended_at IS NOT NULL)),
    CHECK (retain_until IS NULL OR state IN ('given', 'expired')),
    CHECK (erase_after IS NULL OR state IN ('withdrawn', 'expired')),
    FOREIGN KEY (tenant_id, notice_id, purpose) REFERENCES notices (tenant_id, id, purpose),
    FOREIGN KEY (tenant_id, notice_id, notice_version) REFERENCES notice_versions (tenant_id, notice_id, number),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE SET NULL (document_id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES collections (tenant_id, id) ON DELETE SET NULL (collection_id),
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE SET NULL (record_id),
    FOREIGN KEY (tenant_id, subject_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, controller_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX consents_by_subject ON consents (tenant_id, subject_id, id);
CREATE INDEX consents_by_controller ON consents (tenant_id, controller_id, id);
CREATE INDEX consents_by_resource ON consents (tenant_id, resource_id, id);
CREATE INDEX consents_by_validity ON consents (valid_until) WHERE state = 'given';
CREATE INDEX consents_by_retention ON consents (retain_until) WHERE state = 'expired' AND retain_until IS NOT NULL;
CREATE INDEX consents_by_erasure ON consents (erase_after) WHERE erase_after IS NOT NULL;
CREATE INDEX consents_by_document ON consents (tenant_id, document_id) WHERE document_id IS NOT NULL;
CREATE INDEX consents_by_collection ON consents (tenant_id, collection_id) WHERE collection_id IS NOT NULL;
CREATE INDEX consents_by_record ON consents (tenant_id, record_id) WHERE record_id IS NOT NULL;

-- What has happened to a consent, each with the ledger's entry of it.
CREATE TABLE consent_events (
    tenant_id uuid NOT NULL,
    consent_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    event text NOT NULL CHECK (event IN ('asked', 'given', 'refused', 'renewed', 'withdrawn', 'expired')),
    notice_version int NOT NULL,
    entry_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consent_id, number),
    FOREIGN KEY (tenant_id, consent_id) REFERENCES consents (tenant_id, id) ON DELETE CASCADE
);

-- Which grants have rested on a consent, also when they are gone with what was shared: the ledger goes on naming them.
CREATE TABLE consent_grants (
    tenant_id uuid NOT NULL,
    consent_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    PRIMARY KEY (consent_id, grant_id),
    FOREIGN KEY (tenant_id, consent_id) REFERENCES consents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ledger_entries_by_grant ON ledger_entries (tenant_id, grant_id, id) WHERE grant_id IS NOT NULL;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['notices', 'notice_versions', 'consents', 'consent_events', 'consent_grants'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I TO undercroft_app'
            ' USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))',
            table_name
        );
        EXECUTE format('GRANT SELECT, INSERT ON %I TO undercroft_app', table_name);
    END LOOP;
END
$$;
GRANT UPDATE (current_version) ON notices TO undercroft_app;
GRANT UPDATE (notice_version, state, given_at, valid_until, retain_until, erase_after, ended_at)
ON consents TO undercroft_app;

-- What a grant rests on -------------------------------------------------------------------------------------------------

ALTER TABLE grants ADD FOREIGN KEY (tenant_id, consent_id) REFERENCES consents (tenant_id, id);
CREATE INDEX grants_by_consent ON grants (tenant_id, consent_id) WHERE consent_id IS NOT NULL;

-- Whether a JSON Pointer of one list is, or lies above or below, one of the other.
CREATE FUNCTION pointers_overlap(ones text[], others text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM unnest(ones) AS a (pointer), unnest(others) AS b (pointer)
        WHERE a.pointer = b.pointer
           OR starts_with(a.pointer, b.pointer || '/') OR starts_with(b.pointer, a.pointer || '/')
    )
$$;

-- Whose consent it takes to share a thing, or these fields of a record; NULL when it is not personal.
CREATE FUNCTION data_subject_of(resource uuid, shared_fields text[]) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT d.data_subject_id FROM documents AS d WHERE d.tenant_id = current_tenant() AND d.id = resource
    UNION ALL
    SELECT c.data_subject_id FROM collections AS c WHERE c.tenant_id = current_tenant() AND c.id = resource
    UNION ALL
    SELECT coalesce(r.data_subject_id, r.owner_id)
    FROM records AS r
    JOIN schema_versions AS v ON v.schema_id = r.schema_id AND v.number = r.schema_version
    WHERE r.tenant_id = current_tenant() AND r.id = resource
      AND cardinality(v.personal_fields) > 0
      AND (shared_fields IS NULL OR pointers_overlap(shared_fields, v.personal_fields))
$$;

-- Lock order: a thing, then the consents to it, then the grants of it.
--
-- Whose consent it takes, and the consent to rest a grant on, held until the end of the transaction; no row when it takes
-- none. Whoever marks the thing as personal has it FOR UPDATE, whoever withdraws has the consent so.
CREATE FUNCTION choose_consent(resource uuid, shared_fields text[], wanted_purpose text)
RETURNS TABLE (subject_id uuid, consent_id uuid, purpose text, valid_until timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    subject uuid;
BEGIN
    PERFORM FROM documents AS d WHERE d.tenant_id = current_tenant() AND d.id = resource FOR KEY SHARE;
    PERFORM FROM collections AS c WHERE c.tenant_id = current_tenant() AND c.id = resource FOR KEY SHARE;
    -- FOR SHARE: its schema's version must stay as well, and that is no key.
    PERFORM FROM records AS r WHERE r.tenant_id = current_tenant() AND r.id = resource FOR SHARE;
    subject := data_subject_of(resource, shared_fields);
    IF subject IS NULL THEN
        RETURN;
    END IF;
    SELECT c.id, c.purpose, c.valid_until INTO consent_id, purpose, valid_until
    FROM consents AS c
    WHERE c.tenant_id = current_tenant()
      AND c.resource_id = resource
      AND c.subject_id = subject
      AND c.state = 'given'
      AND c.valid_until > statement_timestamp()
      AND (wanted_purpose IS NULL OR c.purpose = wanted_purpose)
    ORDER BY c.valid_until DESC, c.id DESC
    LIMIT 1
    FOR KEY SHARE;
    subject_id := subject;
    RETURN NEXT;
END
$$;

-- No consent, no grant; and none that outlives it, or is for another purpose. AFTER, and by its name behind the foreign
-- keys' own triggers: those hold the thing and the consent, and have waited for whoever was changing them.
CREATE FUNCTION require_consent() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    subject uuid;
BEGIN
    PERFORM FROM records AS r WHERE r.tenant_id = new.tenant_id AND r.id = new.record_id FOR SHARE;
    subject := data_subject_of(new.resource_id, new.fields);
    IF subject IS NULL AND new.consent_id IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (
        SELECT FROM consents AS c
        WHERE c.tenant_id = new.tenant_id
          AND c.id = new.consent_id
          AND c.resource_id = new.resource_id
          AND c.subject_id = coalesce(subject, c.subject_id)
          AND c.state = 'given'
          AND c.valid_until > statement_timestamp()
          AND new.expires_at <= c.valid_until
          AND new.purpose = c.purpose
    ) THEN
        RAISE EXCEPTION 'a grant on something personal rests on a live consent to it'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'grants_rest_on_consent';
    END IF;
    INSERT INTO consent_grants (tenant_id, consent_id, grant_id) VALUES (new.tenant_id, new.consent_id, new.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER require_consent AFTER INSERT ON grants FOR EACH ROW EXECUTE FUNCTION require_consent();

-- What becomes personal, or is about somebody else from now on, is not shared any more, until they agree.
CREATE FUNCTION end_unconsented_grants() RETURNS trigger
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
CREATE TRIGGER end_unconsented_grants AFTER UPDATE OF data_subject_id ON documents
FOR EACH ROW EXECUTE FUNCTION end_unconsented_grants();
CREATE TRIGGER end_unconsented_grants AFTER UPDATE OF data_subject_id ON collections
FOR EACH ROW EXECUTE FUNCTION end_unconsented_grants();
CREATE TRIGGER end_unconsented_grants AFTER UPDATE OF data_subject_id, schema_version ON records
FOR EACH ROW WHEN (
    old.data_subject_id IS DISTINCT FROM new.data_subject_id OR old.schema_version <> new.schema_version
)
EXECUTE FUNCTION end_unconsented_grants();

-- A grant on a vector store shows the documents in it: so one that is personal stands only in stores about the same person,
-- which are shared with their consent alone. AFTER, for the reason above; whoever marks has the row FOR UPDATE.
CREATE FUNCTION require_one_data_subject() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    is_mixed boolean;
BEGIN
    IF tg_table_name = 'documents' THEN
        is_mixed := new.data_subject_id IS NOT NULL AND EXISTS (
            SELECT FROM collection_documents AS m
            JOIN collections AS c ON c.id = m.collection_id
            WHERE m.tenant_id = new.tenant_id AND m.document_id = new.id
              AND c.data_subject_id IS DISTINCT FROM new.data_subject_id
        );
    ELSIF tg_table_name = 'collections' THEN
        is_mixed := EXISTS (
            SELECT FROM collection_documents AS m
            JOIN documents AS d ON d.id = m.document_id
            WHERE m.tenant_id = new.tenant_id AND m.collection_id = new.id
              AND d.data_subject_id IS NOT NULL
              AND d.data_subject_id IS DISTINCT FROM new.data_subject_id
        );
    ELSE
        is_mixed := EXISTS (
            SELECT FROM documents AS d
            JOIN collections AS c ON c.id = new.collection_id
            WHERE d.id = new.document_id
              AND d.data_subject_id IS NOT NULL
              AND c.data_subject_id IS DISTINCT FROM d.data_subject_id
        );
    END IF;
    IF is_mixed THEN
        RAISE EXCEPTION 'a personal document stands only in vector stores about the same person'
        USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER require_one_data_subject AFTER INSERT ON collection_documents
FOR EACH ROW EXECUTE FUNCTION require_one_data_subject();
CREATE TRIGGER require_one_data_subject AFTER UPDATE OF data_subject_id ON documents
FOR EACH ROW EXECUTE FUNCTION require_one_data_subject();
CREATE TRIGGER require_one_data_subject AFTER UPDATE OF data_subject_id ON collections
FOR EACH ROW EXECUTE FUNCTION require_one_data_subject();

REVOKE ALL ON FUNCTION
    pointers_overlap(text[], text[]), data_subject_of(uuid, text[]), choose_consent(uuid, text[], text),
    require_consent(), end_unconsented_grants(), require_one_data_subject()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    pointers_overlap(text[], text[]), data_subject_of(uuid, text[]), choose_consent(uuid, text[], text)
TO undercroft_app;

-- What time does --------------------------------------------------------------------------------------------------------

-- Consents whose time is over, and things whose erasure is due, of every tenant: ids alone.
CREATE FUNCTION list_due_consents(row_limit int)
RETURNS TABLE (tenant_id uuid, consent_id uuid, subject_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    (
        SELECT c.tenant_id, c.id, c.subject_id FROM consents AS c
        WHERE c.state = 'given' AND c.valid_until <= now()
        ORDER BY c.valid_until LIMIT row_limit
    )
    UNION ALL
    (
        SELECT c.tenant_id, c.id, c.subject_id FROM consents AS c
        WHERE c.state = 'expired' AND c.retain_until <= now()
        ORDER BY c.retain_until LIMIT row_limit
    )
$$;

-- What a legal hold keeps waits until that is lifted.
CREATE FUNCTION list_due_erasures(row_limit int)
RETURNS TABLE (tenant_id uuid, document_id uuid, record_id uuid, owner_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT c.tenant_id, c.document_id, c.record_id, coalesce(d.owner_id, r.owner_id)
    FROM consents AS c
    LEFT JOIN documents AS d ON d.id = c.document_id
    LEFT JOIN records AS r ON r.id = c.record_id
    WHERE c.erase_after <= now()
      AND (c.document_id IS NOT NULL OR c.record_id IS NOT NULL)
      AND d.held_at IS NULL
    ORDER BY c.erase_after LIMIT row_limit
$$;
REVOKE ALL ON FUNCTION list_due_consents(int), list_due_erasures(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_due_consents(int), list_due_erasures(int) TO undercroft_app;
GRANT SELECT (id, tenant_id, subject_id, document_id, record_id, state, valid_until, retain_until, erase_after)
ON consents TO undercroft_system;
GRANT SELECT (id, tenant_id, owner_id) ON records TO undercroft_system;
CREATE POLICY due ON consents FOR SELECT TO undercroft_system USING (true);
CREATE POLICY due ON records FOR SELECT TO undercroft_system USING (true);
GRANT CREATE ON SCHEMA public TO undercroft_system;
ALTER FUNCTION list_due_consents(int) OWNER TO undercroft_system;
ALTER FUNCTION list_due_erasures(int) OWNER TO undercroft_system;
REVOKE CREATE ON SCHEMA public FROM undercroft_system;

-- Conversations: turns of people and answers, numbered one after the other, and shared like whatever else there is.

CREATE TABLE conversations (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    owner_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    sealed_metadata bytea NOT NULL CHECK (octet_length(sealed_metadata) <= 65536),
    -- Of the next item, and how many there have been: whoever adds some holds this row, and so knows what it is.
    next_number int NOT NULL DEFAULT 0 CHECK (next_number BETWEEN 0 AND 10000),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX conversations_by_owner ON conversations (tenant_id, owner_id, id);
CREATE INDEX conversations_by_data_key ON conversations (data_key_id);

-- A number has the one before it, and the service can neither delete an item nor change its number: so there are neither
-- gaps nor duplicates, whoever writes. What is deleted or erased leaves its number behind.
CREATE TABLE conversation_items (
    tenant_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 0),
    previous_number int GENERATED ALWAYS AS (nullif(number, 0) - 1) STORED,
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind ~ '^[a-z_]{1,40}$'),
    -- Which response it was asked or answered by; that may be gone.
    response_id uuid,
    -- Of what was made from documents: a key of its own, which goes when one of them is erased. NULL: the conversation's.
    data_key_id uuid,
    sealed_item bytea CHECK (octet_length(sealed_item) <= 8388608),
    ending text CHECK (ending IN ('deleted', 'erased')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id, number),
    UNIQUE (tenant_id, id),
    CHECK ((sealed_item IS NULL) = (ending IS NOT NULL)),
    CHECK (ending IS NULL OR data_key_id IS NULL),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT conversation_items_are_gapless FOREIGN KEY (tenant_id, conversation_id, previous_number)
    REFERENCES conversation_items (tenant_id, conversation_id, number),
    FOREIGN KEY (tenant_id, data_key_id) REFERENCES data_keys (tenant_id, id)
);
CREATE INDEX conversation_items_by_data_key ON conversation_items (data_key_id) WHERE data_key_id IS NOT NULL;

-- What an item was made from, itself or through the turns that it answers. It stays when the response that it came of is
-- deleted, as the item does. document_id has no foreign key: that the document is gone is what a later reading notices.
CREATE TABLE conversation_item_passages (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    conversation_id uuid NOT NULL,
    item_number int NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    document_id uuid NOT NULL,
    document_version int NOT NULL,
    start_offset int NOT NULL,
    end_offset int NOT NULL,
    PRIMARY KEY (tenant_id, conversation_id, item_number, number),
    FOREIGN KEY (tenant_id, conversation_id, item_number)
    REFERENCES conversation_items (tenant_id, conversation_id, number) ON DELETE CASCADE
);
CREATE INDEX conversation_item_passages_by_document ON conversation_item_passages (tenant_id, document_id);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['conversations', 'conversation_items', 'conversation_item_passages'] LOOP
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
GRANT SELECT, INSERT, UPDATE (sealed_metadata, next_number), DELETE ON conversations TO undercroft_app;
GRANT SELECT, INSERT, UPDATE (sealed_item, ending, data_key_id) ON conversation_items TO undercroft_app;
GRANT SELECT, INSERT ON conversation_item_passages TO undercroft_app;

-- Keys go with what they seal.
CREATE TRIGGER delete_key AFTER DELETE ON conversations FOR EACH ROW EXECUTE FUNCTION delete_data_key();
CREATE TRIGGER delete_key AFTER DELETE ON conversation_items FOR EACH ROW EXECUTE FUNCTION delete_data_key();

-- Items that were made from what is erased --------------------------------------------------------------------------------

-- Forgets what items hold, and destroys the keys that they alone have.
CREATE FUNCTION erase_conversation_items(conversations uuid[], numbers int[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    key_ids uuid[];
BEGIN
    -- In the order in which a conversation that is deleted locks them (lock_items_before_delete), and two documents of the
    -- same items that are erased at once.
    key_ids := ARRAY(
        SELECT i.data_key_id FROM conversation_items AS i
        WHERE (i.conversation_id, i.number) IN (SELECT * FROM unnest(conversations, numbers)) AND i.ending IS NULL
        ORDER BY i.conversation_id, i.number
        -- NO KEY: whoever adds the next item refers to the last one, and may wait for the document that is erased here.
        FOR NO KEY UPDATE
    );
    UPDATE conversation_items AS i SET sealed_item = NULL, data_key_id = NULL, ending = 'erased'
    WHERE (i.conversation_id, i.number) IN (SELECT * FROM unnest(conversations, numbers)) AND i.ending IS NULL;
    DELETE FROM data_keys WHERE id = ANY(key_ids);
END
$$;

CREATE FUNCTION erase_derived_items() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    derived record;
BEGIN
    SELECT array_agg(p.conversation_id) AS conversations, array_agg(p.item_number) AS numbers INTO derived
    FROM conversation_item_passages AS p
    WHERE p.tenant_id = old.tenant_id AND p.document_id = old.id;
    IF derived.conversations IS NOT NULL THEN
        PERFORM erase_conversation_items(derived.conversations, derived.numbers);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER erase_items AFTER DELETE ON documents FOR EACH ROW EXECUTE FUNCTION erase_derived_items();

-- The other side of the race: a document that was erased between the search and this row. KEY SHARE keeps one that is
-- there until this transaction ends; its erasure then finds this row.
CREATE FUNCTION erase_item_without_source() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM documents AS d WHERE d.id = new.document_id FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM erase_conversation_items(ARRAY[new.conversation_id], ARRAY[new.item_number]);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER erase_without_source AFTER INSERT ON conversation_item_passages
FOR EACH ROW EXECUTE FUNCTION erase_item_without_source();

-- A conversation that is deleted takes its items in the order of the table; whoever erases some of them (above) goes by
-- number. Without this each could hold what the other waits for.
CREATE FUNCTION lock_items_before_delete() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM conversation_items AS i WHERE i.conversation_id = old.id ORDER BY i.number FOR UPDATE;
    RETURN old;
END
$$;
CREATE TRIGGER lock_items_before_delete BEFORE DELETE ON conversations
FOR EACH ROW EXECUTE FUNCTION lock_items_before_delete();

-- Who sees what -----------------------------------------------------------------------------------------------------------

-- The ways in which the caller may see a document at the version from which something was made. Of versions older than the
-- current one only its owner reads anything.
CREATE FUNCTION ways_to_source(document uuid, version int) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(
        (
            SELECT
                CASE
                    WHEN d.owner_id = current_principal() THEN '[[]]'::jsonb
                    WHEN d.current_version = version THEN
                        coalesce(ways_to_document(d.id, 'search'), '[]'::jsonb)
                        || coalesce(ways_to_document(d.id, 'read'), '[]'::jsonb)
                END
            FROM documents AS d
            WHERE d.id = document AND d.deleted_at IS NULL AND NOT d.is_sealed
        ),
        '[]'::jsonb
    )
$$;

-- By which of these actions the caller comes to a conversation, the first that there is, and in which ways. The owner comes
-- to it without; nobody else without a row.
CREATE FUNCTION access_to_conversation(c conversations, wanted text[]) RETURNS TABLE (action text, ways jsonb)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT NULL, '[[]]'::jsonb WHERE c.owner_id = current_principal()
    UNION ALL
    (
        SELECT w.action, a.ways
        FROM unnest(wanted) WITH ORDINALITY AS w (action, place)
        CROSS JOIN LATERAL (SELECT ways_to(c.id, w.action) AS ways OFFSET 0) AS a
        WHERE c.owner_id <> current_principal() AND a.ways IS NOT NULL
        ORDER BY w.place
        LIMIT 1
    )
$$;

-- Grants of conversations -------------------------------------------------------------------------------------------------

-- What a generated column is made from cannot be changed before PostgreSQL 17: it is made anew, with what stands on it.
DROP VIEW described_grants;
DROP FUNCTION documents_to_search(uuid, uuid[], uuid[], boolean, uuid[]);
ALTER TABLE grants
ADD COLUMN conversation_id uuid,
DROP COLUMN resource_id,
DROP CONSTRAINT grants_check,
ADD CONSTRAINT grants_are_of_one_thing
CHECK (num_nonnulls(document_id, collection_id, record_id, response_id, conversation_id) = 1),
ADD FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE grants
ADD COLUMN resource_id uuid NOT NULL
GENERATED ALWAYS AS (coalesce(document_id, collection_id, record_id, response_id, conversation_id)) STORED;
CREATE INDEX grants_by_resource ON grants (tenant_id, resource_id, grantee_id) WHERE ended_at IS NULL;
CREATE INDEX grants_by_grantee ON grants (tenant_id, grantee_id, resource_id, id) WHERE ended_at IS NULL;
CREATE INDEX grants_of_parts ON grants (tenant_id, resource_id)
WHERE num_nonnulls(pages, sections) > 0 AND ended_at IS NULL;
CREATE INDEX grants_by_conversation ON grants (tenant_id, conversation_id, id) WHERE conversation_id IS NOT NULL;

-- As it was: the documents with this content, of those asked for, that the caller may search. Without settings of its own, so
-- that it becomes part of the statement that asks; OFFSET 0 keeps each look into an index what it is.
CREATE FUNCTION documents_to_search(
    blob uuid, collection_ids uuid[], document_ids uuid[], everywhere boolean, grantees uuid[]
)
RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
-- noqa: disable=RF01
SELECT d.id
FROM document_versions AS v
INNER JOIN documents AS d ON v.document_id = d.id AND v.number = d.current_version
WHERE
    v.tenant_id = current_tenant()
    AND v.blob_id = documents_to_search.blob
    AND d.deleted_at IS NULL
    AND NOT d.is_sealed
    AND (
        (documents_to_search.everywhere OR d.id = ANY(documents_to_search.document_ids))
        AND (
            d.owner_id = current_principal()
            OR EXISTS (
                SELECT
                FROM grants AS g
                WHERE
                    g.tenant_id = current_tenant()
                    AND g.resource_id = d.id
                    AND g.grantee_id = ANY(documents_to_search.grantees)
                    AND 'search' = ANY(g.actions)
                    AND is_live(g)
                OFFSET 0 -- noqa: AM09
            )
        )
        OR EXISTS (
            SELECT
            FROM collection_documents AS m
            INNER JOIN collections AS c ON m.collection_id = c.id
            LEFT JOIN grants AS mg ON m.tenant_id = mg.tenant_id AND m.grant_id = mg.id
            WHERE
                m.tenant_id = current_tenant()
                AND m.document_id = d.id
                AND (
                    documents_to_search.everywhere
                    OR d.id = ANY(documents_to_search.document_ids)
                    OR m.collection_id = ANY(documents_to_search.collection_ids)
                )
                AND (m.grant_id IS NULL OR is_live(mg) AND 'search' = ANY(mg.actions))
                AND (
                    c.owner_id = current_principal()
                    OR EXISTS (
                        SELECT
                        FROM grants AS g
                        WHERE
                            g.tenant_id = current_tenant()
                            AND g.resource_id = c.id
                            AND g.grantee_id = ANY(documents_to_search.grantees)
                            AND 'search' = ANY(g.actions)
                            AND is_live(g)
                        OFFSET 0 -- noqa: AM09
                    )
                )
            OFFSET 0 -- noqa: AM09
        )
    );
-- noqa: enable=RF01
END;
REVOKE ALL ON FUNCTION documents_to_search(uuid, uuid[], uuid[], boolean, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION documents_to_search(uuid, uuid[], uuid[], boolean, uuid[]) TO undercroft_search;

CREATE VIEW described_grants WITH (security_invoker = true) AS
SELECT
    g.id,
    g.tenant_id,
    g.document_id,
    g.collection_id,
    g.record_id,
    g.response_id,
    g.conversation_id,
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
    coalesce(d.owner_id, c.owner_id, r.owner_id, a.owner_id, v.owner_id) AS owner_id
FROM grants AS g
LEFT JOIN documents AS d ON g.document_id = d.id
LEFT JOIN collections AS c ON g.collection_id = c.id
LEFT JOIN records AS r ON g.record_id = r.id
LEFT JOIN responses AS a ON g.response_id = a.id
LEFT JOIN conversations AS v ON g.conversation_id = v.id;
GRANT SELECT ON described_grants TO undercroft_app;

CREATE OR REPLACE FUNCTION describe_granted(g grants) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object(
    'grant', g.id,
    'document', g.document_id,
    'collection', g.collection_id,
    'record', g.record_id,
    'response', g.response_id,
    'conversation', g.conversation_id,
    'grantor', g.grantor_id
);

-- Asking for them ---------------------------------------------------------------------------------------------------------

ALTER TABLE access_requests
ADD COLUMN conversation_id uuid,
DROP COLUMN resource_id,
DROP CONSTRAINT access_requests_check,
ADD CONSTRAINT access_requests_are_for_one_thing
CHECK (num_nonnulls(document_id, collection_id, record_id, response_id, conversation_id) = 1),
ADD FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE access_requests
ADD COLUMN resource_id uuid NOT NULL
GENERATED ALWAYS AS (coalesce(document_id, collection_id, record_id, response_id, conversation_id)) STORED;
CREATE UNIQUE INDEX access_requests_pending ON access_requests (tenant_id, asker_id, resource_id)
WHERE state = 'pending';
CREATE INDEX access_requests_by_conversation ON access_requests (tenant_id, conversation_id)
WHERE conversation_id IS NOT NULL;

CREATE OR REPLACE VIEW requestable_things WITH (security_invoker = true) AS
SELECT d.id, d.tenant_id, d.owner_id, d.data_key_id, 'document' AS kind FROM documents AS d WHERE d.deleted_at IS NULL
UNION ALL
SELECT c.id, c.tenant_id, c.owner_id, c.data_key_id, 'collection' FROM collections AS c
UNION ALL
SELECT r.id, r.tenant_id, r.owner_id, r.data_key_id, 'record' FROM records AS r
UNION ALL
SELECT a.id, a.tenant_id, a.owner_id, a.data_key_id, 'response' FROM responses AS a
UNION ALL
SELECT v.id, v.tenant_id, v.owner_id, v.data_key_id, 'conversation' FROM conversations AS v;

-- As for whatever else is shared: grants are locked in the order of ids before they go with what they are of.
CREATE OR REPLACE FUNCTION lock_before_delete() RETURNS trigger
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
                    AND (
                        r.document_id = old.id
                        OR r.collection_id = old.id
                        OR r.record_id = old.id
                        OR r.conversation_id = old.id
                    )
              )
          )
      )
    ORDER BY g.id FOR UPDATE;
    RETURN old;
END
$$;
CREATE TRIGGER lock_before_delete BEFORE DELETE ON conversations FOR EACH ROW EXECUTE FUNCTION lock_before_delete();

CREATE OR REPLACE FUNCTION hold_thing(resource uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM documents AS d WHERE d.tenant_id = current_tenant() AND d.id = resource FOR KEY SHARE;
    PERFORM FROM collections AS c WHERE c.tenant_id = current_tenant() AND c.id = resource FOR KEY SHARE;
    PERFORM FROM records AS r WHERE r.tenant_id = current_tenant() AND r.id = resource FOR KEY SHARE;
    PERFORM FROM responses AS a WHERE a.tenant_id = current_tenant() AND a.id = resource FOR KEY SHARE;
    PERFORM FROM conversations AS v WHERE v.tenant_id = current_tenant() AND v.id = resource FOR KEY SHARE;
END
$$;

REVOKE ALL ON FUNCTION
    erase_conversation_items(uuid[], int[]), erase_derived_items(), erase_item_without_source(),
    lock_items_before_delete(), ways_to_source(uuid, int), access_to_conversation(conversations, text[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    erase_conversation_items(uuid[], int[]), ways_to_source(uuid, int), access_to_conversation(conversations, text[])
TO undercroft_app;

-- Files that were put into a collection together, as OpenAI's file batches. How far each is, is the file's own state, and is
-- kept there alone; a batch only remembers which they are.

-- What a file of a batch refers to. It replaces the index by document, whose columns it begins with.
CREATE UNIQUE INDEX collection_documents_by_document_once
ON collection_documents (tenant_id, document_id, collection_id);
DROP INDEX collection_documents_by_document;
ALTER INDEX collection_documents_by_document_once RENAME TO collection_documents_by_document;

CREATE TABLE file_batches (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    cancelled_at timestamptz,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES collections (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX file_batches_by_collection ON file_batches (tenant_id, collection_id);

-- The collection, as long as the file is there by this batch: whatever takes it out, leaves its place here empty. Put in
-- again, it is there by another request.
CREATE TABLE file_batch_files (
    tenant_id uuid NOT NULL,
    batch_id uuid NOT NULL,
    document_id uuid NOT NULL,
    collection_id uuid,
    PRIMARY KEY (batch_id, document_id),
    FOREIGN KEY (tenant_id, batch_id) REFERENCES file_batches (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, document_id, collection_id)
    REFERENCES collection_documents (tenant_id, document_id, collection_id) ON DELETE SET NULL (collection_id)
);
CREATE INDEX file_batch_files_by_document ON file_batch_files (tenant_id, document_id, collection_id);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['file_batches', 'file_batch_files'] LOOP
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
GRANT UPDATE (cancelled_at) ON file_batches TO undercroft_app;

-- The files of batches as the owner of the collection sees them. One that is not there any more has no state; whoever does
-- not come to such a document is not told of it.
CREATE VIEW described_batch_files WITH (security_invoker = true) AS
SELECT
    f.tenant_id,
    f.batch_id,
    f.document_id,
    m.attributes,
    m.added_at,
    m.index_state,
    m.index_error_code,
    m.index_error_message,
    m.byte_size
FROM file_batch_files AS f
INNER JOIN documents AS d ON f.document_id = d.id
LEFT JOIN collection_members AS m
    ON f.collection_id = m.collection_id AND f.document_id = m.document_id AND shows_member(m, NULL)
WHERE
    d.deleted_at IS NULL
    AND (
        m.document_id IS NOT NULL
        OR EXISTS (
            SELECT FROM access_to_document(
                d, ARRAY['read', 'read_parts', 'search', 'download', 'comment', 'write', 'share']
            )
        )
    );
GRANT SELECT ON described_batch_files TO undercroft_app;

-- Comments on documents: short texts of their owner and of whoever was granted 'comment', each on one version.

CREATE TABLE document_comments (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    document_id uuid NOT NULL,
    document_version int NOT NULL CHECK (document_version >= 1),
    author_id uuid NOT NULL,
    -- Under the document's key, and gone with it. 4,000 characters of four bytes each, and what sealing adds.
    sealed_text bytea NOT NULL CHECK (octet_length(sealed_text) <= 16384),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, author_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX document_comments_by_document ON document_comments (tenant_id, document_id, id);
CREATE INDEX document_comments_by_author ON document_comments (tenant_id, author_id);

ALTER TABLE document_comments ENABLE ROW LEVEL SECURITY;
ALTER TABLE document_comments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON document_comments TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, DELETE ON document_comments TO undercroft_app;

-- Whether whoever made a verification link owns what it is to. Grants go with that: once it is erased nobody knows whether the
-- right of another had ended before, and what they vouched for has to end with their right.
ALTER TABLE verification_links ADD COLUMN creator_owns boolean NOT NULL DEFAULT false;
ALTER TABLE verification_links NO FORCE ROW LEVEL SECURITY;
ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE records NO FORCE ROW LEVEL SECURITY;
UPDATE verification_links AS l SET creator_owns = true
WHERE
    EXISTS (SELECT FROM documents AS d WHERE d.id = l.document_id AND d.owner_id = l.creator_id)
    OR EXISTS (SELECT FROM records AS r WHERE r.id = l.record_id AND r.owner_id = l.creator_id);
ALTER TABLE records FORCE ROW LEVEL SECURITY;
ALTER TABLE documents FORCE ROW LEVEL SECURITY;
ALTER TABLE verification_links FORCE ROW LEVEL SECURITY;

-- Fields of records are verified as versions of documents are. docs/verify.md.

-- The first entry that commits to a version, and its bytes, whether it has its number yet or not.
CREATE FUNCTION find_version_entry(subject text, subject_version integer)
RETURNS TABLE (entry_id uuid, leaf bytea)
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
SELECT coalesce(c.entry_id, p.id), coalesce(c.leaf, p.leaf)
FROM find_commitment(subject, subject_version) AS c
LEFT JOIN LATERAL (
    SELECT w.id, w.leaf
    FROM ledger_pending AS w
    WHERE
        c.entry_id IS NULL
        AND w.tenant_id = current_tenant()
        AND w.resource = subject
        AND w.version = subject_version
        AND w.outcome = 'allowed'
        AND position('\x22636f6e74656e74223a22'::bytea IN w.leaf) > 0
    ORDER BY w.occurred_at, w.ordinal
    LIMIT 1
) AS p ON true
$$;
REVOKE ALL ON FUNCTION find_version_entry(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_version_entry(text, integer) TO undercroft_app;

ALTER TABLE verification_links RENAME COLUMN document_version TO version;
ALTER TABLE verification_links
    ADD COLUMN kind text NOT NULL DEFAULT 'document' CHECK (kind IN ('document', 'record')),
    -- NULL once it was erased, as document_id is.
    ADD COLUMN record_id uuid,
    -- JSON Pointers: what the link tells of.
    ADD COLUMN fields text[] CHECK (cardinality(fields) BETWEEN 1 AND 32),
    ADD CONSTRAINT verification_links_record_fkey
    FOREIGN KEY (tenant_id, record_id) REFERENCES records (tenant_id, id) ON DELETE SET NULL (record_id),
    ADD CONSTRAINT verification_links_are_of_one_thing CHECK (
        CASE kind
            WHEN 'document' THEN record_id IS NULL AND fields IS NULL
            ELSE document_id IS NULL AND (record_id IS NULL) = (fields IS NULL)
        END
    );
ALTER TABLE verification_links ALTER COLUMN kind DROP DEFAULT;
CREATE INDEX verification_links_by_record ON verification_links (tenant_id, record_id) WHERE record_id IS NOT NULL;

-- A pointer may hold what somebody wrote, as the name of a member: it goes with the record. The foreign key can empty its
-- own columns alone.
CREATE FUNCTION forget_verified_fields() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.fields := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER forget_verified_fields BEFORE UPDATE OF record_id ON verification_links
FOR EACH ROW WHEN (new.record_id IS NULL) EXECUTE FUNCTION forget_verified_fields();

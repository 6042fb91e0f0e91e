-- A legal hold keeps a document's name and metadata, too: of them no version is kept.
CREATE TRIGGER refuse_held_change BEFORE UPDATE OF sealed_name, sealed_metadata ON documents
FOR EACH ROW
WHEN (
    old.held_at IS NOT NULL
    AND (old.sealed_name, old.sealed_metadata) IS DISTINCT FROM (new.sealed_name, new.sealed_metadata)
)
EXECUTE FUNCTION refuse_held_document();

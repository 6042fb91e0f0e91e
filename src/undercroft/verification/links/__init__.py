"""Links by which anybody verifies a version of a document, or fields of a record."""

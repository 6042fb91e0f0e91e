"""Links by which anybody verifies one version of a document."""

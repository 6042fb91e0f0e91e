"""Records: JSON objects under a schema, encrypted and versioned."""

"""Schemas: named, versioned JSON Schemas that records satisfy, with what is plain, sensitive or indexed in them."""

"""Access requests: asking the owner of a thing for a grant."""

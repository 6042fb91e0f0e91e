"""Share links: a grant for whoever holds a token."""

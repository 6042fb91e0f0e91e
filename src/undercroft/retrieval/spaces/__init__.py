"""The spaces that vectors are in, one for each embedding model: which one is searched, and moving to another."""

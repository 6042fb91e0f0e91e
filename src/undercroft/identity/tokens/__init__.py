"""Tokens of every kind: whether one is valid (RFC 7662), and its end by whoever holds it (RFC 7009)."""

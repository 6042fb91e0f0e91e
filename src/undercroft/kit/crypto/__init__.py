"""Encryption of what tenants keep: single values, streams of bytes, and who keeps the keys that wrap keys."""

"""Webhooks: what happens in a tenant, told to its own programs, signed, again and again until they have it."""

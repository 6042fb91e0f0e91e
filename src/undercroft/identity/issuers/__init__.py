"""Issuers of tokens from outside (OpenID Connect), registered by a tenant's admins."""

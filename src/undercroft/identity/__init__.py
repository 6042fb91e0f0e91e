"""Who acts: tenants, users, API keys and roles."""

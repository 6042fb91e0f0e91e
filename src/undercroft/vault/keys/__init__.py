"""The keys of what a tenant keeps: data keys, wrapped by the tenant's key, which a key provider wraps."""

"""Groups of a tenant's users: what is granted to a group is granted to whoever is in it."""

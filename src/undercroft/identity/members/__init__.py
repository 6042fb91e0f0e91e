"""The users of a tenant, as its admins manage them: people, guests and services."""

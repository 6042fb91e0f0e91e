"""Sessions: short access tokens, refresh tokens that are replaced at each use, and signing out."""

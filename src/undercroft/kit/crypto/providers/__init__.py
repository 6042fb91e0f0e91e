"""Who keeps the key that wraps all others: a seam, and its implementations."""

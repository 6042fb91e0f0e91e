"""Backups: every row that is not derived, every ciphertext, and a sealed manifest of both."""

"""Searching conversations by words."""

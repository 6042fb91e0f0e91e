"""Repairs of what can be derived again: the index, its statistics, a log's tiles; and orphaned files are deleted."""

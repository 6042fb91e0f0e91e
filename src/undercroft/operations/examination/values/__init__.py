"""Examines the sealed values that belong neither to a document nor to a record."""

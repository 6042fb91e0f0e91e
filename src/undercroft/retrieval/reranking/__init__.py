"""Rerankers: models that read a question and a passage together, and put what was found in a better order."""

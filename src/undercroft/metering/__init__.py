"""Quotas of requests and tokens, and what was used of each model."""

"""Consent: what somebody was told, what they agreed to, and how they take it back."""

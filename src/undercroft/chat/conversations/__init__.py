"""Conversations: numbered turns that are kept, shared, and answered from."""

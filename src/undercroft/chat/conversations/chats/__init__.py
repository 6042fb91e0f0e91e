"""Conversations as clients call them."""

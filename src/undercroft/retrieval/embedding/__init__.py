"""Texts to vectors: the seam, the built-in model behind it, and any OpenAI-compatible server."""

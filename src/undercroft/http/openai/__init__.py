"""The OpenAI-compatible faces."""

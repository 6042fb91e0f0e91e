"""The Model Context Protocol at ``/mcp``: what the caller may see of the vault, as tools for their own assistant."""

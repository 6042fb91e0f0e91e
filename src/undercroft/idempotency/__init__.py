"""Keys by which a request that is repeated has one effect and one answer."""

"""Native routes, one file an area."""

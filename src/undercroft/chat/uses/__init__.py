"""Documents that are used by what was made from them."""

"""Files that are put into a collection together, and how far they are."""

"""Near passages: the seam between the search and what finds them, and Qdrant behind it."""

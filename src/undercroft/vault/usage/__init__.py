"""How much is kept, and how much may be."""

"""Undercroft: the backend under an AI product that holds private data."""

from typing import Final

__version__: Final = "0.1.0"

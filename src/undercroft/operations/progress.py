"""How an operation says what it has done."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str], None]
"""Told what is done, in a few words."""

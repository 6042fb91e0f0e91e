"""Segments of scripts that set no spaces between words: pairs of neighbouring characters, as in Lucene's CJKAnalyzer.

A document's words and a query's are cut alike, so that both are found by any two characters that stand together.
"""

import re
from typing import Final

UNSPACED: Final = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uac00-\ud7af"  # Hangul: it has spaces, but endings are written to their words
    "]+"
)
"""A run of such characters."""


def segment(text: str) -> str:
    """A text whose words have spaces between them, for an index or a query of words. For no one to read."""
    return UNSPACED.sub(_pair, text)


def _pair(run: re.Match[str]) -> str:
    characters = run.group()
    pairs = [characters[at : at + 2] for at in range(max(len(characters) - 1, 1))]
    return f" {' '.join(pairs)} "

"""In which language a document is.

PostgreSQL has a dictionary for each of some languages, which takes words to their stems. Of the others words are
indexed as they are.
"""

from functools import cache
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

DICTIONARIES: Final = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
"""PostgreSQL's text search configurations by ISO 639 code: all are in PostgreSQL 15, the oldest that is taken."""
DEFAULT: Final = "english"
"""Where the text does not tell: too little of it, numbers, code."""
WITHOUT_DICTIONARY: Final = "simple"

_SAMPLE: Final = 20_000
"""Characters that are looked at, which takes some milliseconds."""
_LEAST_CONFIDENCE: Final = 0.5
"""Of a sentence it is above, of code and of tables of numbers below 0.1."""


def find_dictionary(text: str) -> str:
    """The text search configuration for a document's words.

    Args:
        text: The document's; its beginning is looked at. Loads the model of py3langid (a naive Bayes classifier over
            byte sequences, half a second and 80 MB) at the first call. Blocks.
    """
    code, confidence = _identifier().classify(text[:_SAMPLE])
    if confidence < _LEAST_CONFIDENCE:
        return DEFAULT
    return DICTIONARIES.get(code, WITHOUT_DICTIONARY)


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

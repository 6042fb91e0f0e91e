"""What a query says beyond its words: quoted phrases, exclusions, prefixes, identifiers.

Nothing is an error: what is not syntax is words.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from undercroft.retrieval.segmentation import segment

_CLOSING: Final = {
    '"': '"',
    "“": "”",
    "”": "”",
    "„": "“”",
    "«": "»",
    "»": "«",
    "「": "」",
    "『": "』",
}
"""By which marks a quotation may end, for each by which one begins."""
_MOST_PIECES: Final = 16
"""Phrases, prefixes, exclusions, identifiers: so many of each; what is beyond is words."""
_MOST_PHRASE: Final = 400
"""Characters of a phrase; a longer quotation is words."""
_MOST_TOKEN: Final = 100
_MOST_READ: Final = 10_000
"""Characters of a question in which syntax is looked for; what comes behind is words."""

_PREFIX: Final = re.compile(r"(\w[\w./-]*\w)\*")
EDGES: Final = ".,;:!?()[]{}<>\"'“”„«»「」『』`…"
"""What is no part of a word where it stands at its beginning or end."""
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.\w+")
_WITH_DIGIT: Final = re.compile(r"(?=.*\d)\w+(?:[-/.:#]+\w+)+")
_PLAIN_NUMBER: Final = re.compile(r"\d+([-.,:/]\d+)?|\d+([.,:]\d+)+")
_SYMBOL: Final = re.compile(r"\w\w+(?:(?:::|->|\.)\w\w+)+|[^\W_]\w*_\w*[^\W_]")


@dataclass(frozen=True, slots=True)
class Demands:
    """What a passage must have or must not have, and what it had better have.

    Attributes:
        phrases: Words that stand together in this order. A passage has each.
        prefixes: A passage has a word that begins so, for each.
        excluded: Words and phrases that a passage does not have; with a star at the end, words that begin so.
        identifiers: Passages that have one of them whole come before those that do not.
    """

    phrases: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()

    @property
    def is_strict(self) -> bool:
        """Whether passages with the words may lack what is demanded and could be found without."""
        return bool(self.phrases or self.prefixes)

    def __bool__(self) -> bool:
        return bool(self.phrases or self.prefixes or self.excluded or self.identifiers)


NO_DEMANDS: Final = Demands()


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """The words to rank by, without signs and what is excluded, and what is demanded of passages."""

    text: str
    demands: Demands


@dataclass(slots=True)
class _Pieces:
    words: list[str] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    excluded_as_written: list[str] = field(default_factory=list)


def parse_typed(text: str) -> ParsedQuery:
    """Read what somebody typed into a search field.

    - ``"solar panel"``: the words together; German, French, Polish, Swedish, Japanese quotation marks as well.
    - ``-draft``, ``-"first draft"``: not these. The sign stands at the beginning of a word, directly before a letter or
      a quotation: neither ``pre-2020`` nor ``-5`` nor ``--verbose`` excludes something. Where nothing else is asked
      for, nothing is excluded: those are the words.
    - ``micro*``: a word that begins so.
    """
    pieces = _Pieces()
    read, rest = text[:_MOST_READ], text[_MOST_READ:]
    at = 0
    while at < len(read):
        at = _read_piece(read, at, pieces)
    if not any(map(is_word, pieces.words)):
        pieces.words += pieces.excluded_as_written
        pieces.excluded.clear()
    words = " ".join([*pieces.words, rest]).strip()
    demands = Demands(
        phrases=_distinct(pieces.phrases),
        prefixes=_distinct(pieces.prefixes),
        excluded=_distinct(pieces.excluded),
        identifiers=find_identifiers(words),
    )
    return ParsedQuery(words, demands)


def parse_said(text: str) -> ParsedQuery:
    """Read a question in natural language: signs in it are its own, only identifiers are kept whole."""
    return ParsedQuery(text, Demands(identifiers=find_identifiers(text)))


def find_identifiers(text: str) -> tuple[str, ...]:
    """Part numbers, file references, emails and names from code, of which the index has the parts."""
    tokens = (_strip(token) for token in text[:_MOST_READ].split())
    found = (token for token in tokens if len(token) <= _MOST_TOKEN and _is_identifier(token))
    return _distinct(found)


def _read_piece(text: str, at: int, pieces: _Pieces) -> int:
    """Read what begins there; where the next begins."""
    if text[at].isspace():
        return at + 1
    is_excluded = text[at] == "-" and _begins_word(text, at)
    opening = at + is_excluded
    if opening < len(text) and text[opening] in _CLOSING:
        end = _end_of_quotation(text, opening)
        if end is not None:
            _take_phrase(text[opening + 1 : end], is_excluded=is_excluded, pieces=pieces)
            return end + 1
    end = at + 1
    while end < len(text) and not text[end].isspace() and not _opens(text, end):
        end += 1
    _take_token(text[at:end], may_exclude=is_excluded, pieces=pieces)
    return end


def _begins_word(text: str, at: int) -> bool:
    return at == 0 or text[at - 1].isspace()


def _opens(text: str, at: int) -> bool:
    """Whether a quotation begins within a run of characters, as it does where no spaces are written."""
    if text[at] not in _CLOSING:
        return False
    is_directed = text[at] in "„«「『"
    return (is_directed or not text[at - 1].isalnum()) and _end_of_quotation(text, at) is not None


def _end_of_quotation(text: str, opening: int) -> int | None:
    """Where it is closed; None where it is not, or too far away."""
    closing = _CLOSING[text[opening]]
    is_undirected = text[opening] in closing
    if is_undirected and opening and text[opening - 1].isalnum():
        return None
    ends = (text.find(mark, opening + 1, opening + _MOST_PHRASE + 2) for mark in closing)
    return min((end for end in ends if end >= 0), default=None)


def _take_phrase(phrase: str, *, is_excluded: bool, pieces: _Pieces) -> None:
    phrase = " ".join(phrase.split())
    if not is_word(phrase):
        return
    if is_excluded and len(pieces.excluded) < _MOST_PIECES:
        pieces.excluded.append(phrase)
        pieces.excluded_as_written.append(phrase)
        return
    if not is_excluded and len(pieces.phrases) < _MOST_PIECES:
        pieces.phrases.append(phrase)
    pieces.words.append(phrase)


def _take_token(token: str, *, may_exclude: bool, pieces: _Pieces) -> None:
    excluded = token[1:].rstrip(EDGES) if may_exclude else ""
    if (
        excluded
        and excluded[0].isalpha()
        and len(excluded) <= _MOST_TOKEN
        and len(pieces.excluded) < _MOST_PIECES
    ):
        pieces.excluded.append(excluded)
        pieces.excluded_as_written.append(token)
        return
    prefix = _PREFIX.fullmatch(token.strip("(),;"))
    if (
        prefix
        and len(token) <= _MOST_TOKEN
        and segment(token) == token
        and len(pieces.prefixes) < _MOST_PIECES
    ):
        pieces.prefixes.append(prefix[1])
        token = prefix[1]
    pieces.words.append(token)


def _strip(token: str) -> str:
    return token.strip(EDGES)


def _is_identifier(token: str) -> bool:
    if _PLAIN_NUMBER.fullmatch(token):
        return False
    if _WITH_DIGIT.fullmatch(token):
        return _is_numbered(token)
    return any(pattern.fullmatch(token) for pattern in (_EMAIL, _SYMBOL))


def _is_numbered(token: str) -> bool:
    """Whether it is AB-12 or 1f4e-77ab-90cd, and not a word of a language: 24-yard, pre-2020, mid-1990s."""
    parts = token.split("-")
    if not all(part.isalnum() for part in parts) or token == token.upper():
        return True
    mixed = [part for part in parts if not part.isalpha() and not part.isdigit()]
    return len(parts) > 2 and len(mixed) > 1


def is_word(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(unicodedata.category(character)[0] in "LN" for character in text)


def _distinct(pieces: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pieces))[:_MOST_PIECES]

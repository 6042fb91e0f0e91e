# ruff: noqa: SIM905, RUF001 -- word lists read best as prose, and typographic apostrophes are meant
"""The terms of a text: what sentences and questions are compared by. Pure.

Words are case-folded and stemmed lightly, numbers are written one way (``1,250.00`` is ``1250``, ``four`` is ``4``),
months are named (``2024-01`` is ``2024 january``), and runs of Chinese, Japanese and Korean characters become
overlapping pairs. Stemming and stop words are English; in another language words are compared less forgivingly.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

STOP_WORDS: Final = frozenset(
    """a about above after again all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each either ever few for from further get got had has
    have having he her here hers him his how i if in into is it its itself just let like many may me might
    more most much must my myself of off on once only or other our ours out over own per please quite rather
    s same shall she should so some still such t than that the their theirs them then there these they this
    those through to too under until up upon us very was we were what when where whether which while who
    whom whose why will with within would you your yours""".split()
)
"""Words that carry no content of a question."""

DOCUMENT_WORDS: Final = frozenset(
    """according answer describe document explain file find give information know list mention mentioned name say says
    show state stated summarise summarize summary tell text""".split()
)
"""Words that speak about the documents or the request, not about what the documents say."""

_NUMBER_WORDS: Final = {
    word: str(value)
    for value, word in (
        *enumerate(
            """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
            seventeen eighteen nineteen twenty""".split()
        ),
        *zip(
            range(30, 100, 10),
            "thirty forty fifty sixty seventy eighty ninety".split(),
            strict=True,
        ),
    )
}
_MONTHS: Final = (
    "january february march april may june july august september october november december".split()
)
_MONTH_OF: Final = {form: month for month in _MONTHS for form in (month, month[:3], month[:4])}
_IRREGULAR: Final = {
    "paid": "pay", "bought": "buy", "sold": "sell", "held": "hold", "kept": "keep", "left": "leave", "lost": "lose",
    "made": "make", "met": "meet", "sent": "send", "spent": "spend", "won": "win", "wrote": "write",
    "written": "write", "gave": "give", "given": "give", "took": "take", "taken": "take", "began": "begin",
    "begun": "begin", "grew": "grow", "grown": "grow", "led": "lead", "died": "die", "dies": "die", "death": "die",
    "built": "build", "chose": "choose", "chosen": "choose", "brought": "bring", "owed": "owe", "due": "owe",
    "children": "child", "people": "person", "men": "man", "women": "woman", "used": "use", "using": "use",
    "user": "use", "users": "use", "daily": "day", "days": "day",
}  # fmt: skip
_SUFFIXES: Final = tuple(
    """ations ation ments ances ences ancies ancy ency ingly ment ance ence ings ions ates ated ating ably ible able
    ing ion ors ers ally ity ies ied ive ic ate ant ent als er or al ed es ly e y s""".split()
)
"""Longest first where one ends with another."""
_KEEPS_S: Final = ("ss", "us", "is")
_SHORT_STEMMED: Final = frozenset({"s", "ment", "ments", "ed", "ing", "able"})
"""Suffixes that may leave three letters, as in ``payment``; the others leave four."""
_TOKEN: Final = re.compile(
    r"(?P<date>(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])(?:-[0-3]\d)?(?!\d))|"
    r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*"
)
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_CONTINENTAL: Final = re.compile(r"\d{1,3}(?:\.\d{3})+,\d+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LONGEST_WORD: Final = 64


class Token(NamedTuple):
    """A term and where it stands.

    Attributes:
        term: What it is compared by.
        word: The case-folded word or the number itself.
        start: Offset of its first character.
        end: Offset after its last character.
        number: Whether it is a number, in digits or in words.
        capital: Whether it begins with a capital letter.
    """

    term: str
    word: str
    start: int
    end: int
    number: bool
    capital: bool

    @property
    def content(self) -> bool:
        """Whether it says something about the subject."""
        return self.word not in STOP_WORDS


def tokens(text: str) -> list[Token]:
    """The tokens of a text, in order. Runs in time linear in the text."""
    return [token for match in _TOKEN.finditer(text) for token in _tokens_of(match)]


def content_terms(text: str) -> set[str]:
    """The terms of a text without stop words."""
    return {token.term for token in tokens(text) if token.content}


def _tokens_of(match: re.Match[str]) -> Iterator[Token]:
    written, (start, end) = match.group(), match.span()
    if match["date"]:
        yield from _date_tokens(written, start)
    elif written[0].isdigit():
        yield Token(normal_number(written), written, start, end, number=True, capital=False)
    elif _UNSPACED.search(written):
        for offset in range(max(1, len(written) - 1)):
            pair = written[offset : offset + 2]
            at = start + offset
            yield Token(pair, pair, at, at + len(pair), number=False, capital=False)
    else:
        word = unicodedata.normalize("NFKC", written[:_LONGEST_WORD]).casefold().replace("’", "'")
        word = word.removesuffix("'s")
        number = _NUMBER_WORDS.get(word)
        term = number or _MONTH_OF.get(word) or stem(word)
        yield Token(term, word, start, end, number=number is not None, capital=written[0].isupper())


def _date_tokens(written: str, start: int) -> Iterator[Token]:
    """Year, month by name and day, so that ``2024-01-31`` meets ``31 January 2024``."""
    year, month, *day = written.split("-")
    name = _MONTHS[int(month) - 1]
    yield Token(year, year, start, start + 4, number=True, capital=False)
    yield Token(name, name, start + 5, start + 7, number=False, capital=True)
    for digits in day:
        yield Token(
            normal_number(digits), digits, start + 8, start + 10, number=True, capital=False
        )


def normal_number(written: str) -> str:
    """One spelling for a number: no thousands separators, no trailing zeros, no leading zeros."""
    number = unicodedata.normalize("NFKC", written)
    if _CONTINENTAL.fullmatch(number):
        number = number.replace(".", "").replace(",", ".")
    elif _THOUSANDS.fullmatch(number):
        number = number.replace(",", "")
    if number.count(".") == 1 and ":" not in number:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A light English stem: ``renewal`` and ``renewed`` meet, ``cancellation`` and ``cancel`` too."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if not word.isascii():
        return word
    for _ in range(2):
        word = _without_suffix(word)
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiou":
        return word[:-1]
    return word


def _without_suffix(word: str) -> str:
    for suffix in _SUFFIXES:
        if not word.endswith(suffix) or (suffix == "s" and word.endswith(_KEEPS_S)):
            continue
        kept = len(word) - len(suffix)
        if kept >= (3 if suffix in _SHORT_STEMMED else 4):
            return word[:kept]
    return word

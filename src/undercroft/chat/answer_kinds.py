"""What kind of thing a question asks for, and whether a sentence holds one. Pure.

English cues; a question without any asks for ``ANY``, which every sentence that says something new can hold.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from undercroft.chat.terms import Token


class AnswerKind(Enum):
    """What an answer to a question should contain."""

    AMOUNT = "amount"
    DATE = "date"
    DURATION = "duration"
    DEGREES = "degrees"
    NUMBER = "number"
    PERSON = "person"
    PLACE = "place"
    ANY = "any"


_MONEY_WORDS: Final = (
    "balance|bill|charge|charged|cost|deposit|discount|excess|fee|fine|income|invoice|owe|pay|price|premium|profit"
    "|refund|rent|salary|tax|total|turnover|wage|worth"
)
_WHAT_IS: Final = r"^\W*what (?:is|are|was|were|does|do|did|will|would)\b"
_PERIODS: Final = "second|minute|hour|night|day|week|month|quarter|year"
_CUES: Final = tuple(
    (kind, re.compile(cue, re.IGNORECASE))
    for kind, cue in (
        (AnswerKind.DURATION, rf"\bhow (?:long|often|soon|much notice|many (?:{_PERIODS})s)\b"),
        (
            AnswerKind.DATE,
            r"^\W*(?:since |until |till |by |from )?when\b|\b(?:what|which) (?:date|day|year|month|time)s?\b",
        ),
        (AnswerKind.DEGREES, r"\bhow (?:hot|cold|warm)\b|\btemperatures?\b"),
        (
            AnswerKind.AMOUNT,
            rf"\bhow much\b|{_WHAT_IS}.*\b(?:{_MONEY_WORDS})s?\b",
        ),
        (
            AnswerKind.NUMBER,
            (
                r"\bhow (?:many|old|far|large|big|high|tall|fast|wide|deep|heavy)\b"
                r"|\b(?:number|percentage|percent|rate|limit|maximum|minimum|value|level)\b"
            ),
        ),
        (AnswerKind.PERSON, r"^\W*who(?:m|se)?\b"),
        (AnswerKind.PLACE, r"^\W*where\b"),
    )
)
_KIND_WORDS: Final = {
    kind: frozenset(words.split())
    for kind, words in (
        (
            AnswerKind.AMOUNT,
            "amount bill charge charged cost costs fee pay paid price big high worth",
        ),
        (AnswerKind.DATE, "date dates day month time year"),
        (AnswerKind.DEGREES, "cold degrees hot temperature temperatures warm"),
        (AnswerKind.DURATION, "days hours long minutes months often soon weeks years"),
        (AnswerKind.NUMBER, "big deep far fast heavy high large level number old tall value wide"),
        (AnswerKind.PERSON, "person"),
        (AnswerKind.PLACE, "place"),
        (AnswerKind.ANY, ""),
    )
}
_MONEY: Final = re.compile(
    r"[£$€¥]\s?\d|\b(?:GBP|EUR|USD|CHF|pounds?|euros?|dollars?|pence)\b|\d[.,]\d\d\b|\d %|\d%",
    re.IGNORECASE,
)
_DATE: Final = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
    r"|\b(?:1[5-9]|20)\d\d\b|\b\d{1,2}[:/.]\d{2}\b",
    re.IGNORECASE,
)
_DURATION: Final = re.compile(
    rf"\b(?:{_PERIODS})s?\b|\b(?:daily|weekly|monthly|yearly|annually|once|twice)\b", re.IGNORECASE
)
_DEGREES: Final = re.compile(r"\d\s?°|\bdegrees?\b", re.IGNORECASE)
_SIGNS: Final = {
    AnswerKind.DATE: _DATE,
    AnswerKind.DURATION: _DURATION,
    AnswerKind.DEGREES: _DEGREES,
}


def answer_kind(question: str) -> AnswerKind:
    """What an answer should contain, by the question's words; ``ANY`` in doubt."""
    return next((kind for kind, cue in _CUES if cue.search(question)), AnswerKind.ANY)


def names_kind(kind: AnswerKind, word: str) -> bool:
    """Whether a word of the question only names the kind of answer: ``cost`` is answered by a sum, not by ``cost``."""
    return word in _KIND_WORDS[kind]


def holds_kind(kind: AnswerKind, sentence: str, news: Sequence[Token]) -> bool:
    """Whether a sentence holds such a thing.

    Args:
        kind: What is asked for.
        sentence: The sentence.
        news: Its content tokens that the question does not have.
    """
    if kind is AnswerKind.AMOUNT:
        return bool(_MONEY.search(sentence)) and any(token.number for token in news)
    if kind is AnswerKind.NUMBER:
        return any(token.number for token in news)
    if kind in (AnswerKind.PERSON, AnswerKind.PLACE):
        return any(token.capital for token in news[1:])
    sign = _SIGNS.get(kind)
    return bool(news) if sign is None else bool(sign.search(sentence))

"""How often a schema may look at one value, and what one look costs: a bound on what checking a record can cost.

A small schema can ask for 2^64 checks of one number, by references that branch. A checker in native code holds the
interpreter while it works, so such a schema is refused when it is made.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from undercroft.vault.schemas.errors import InvalidSchemaError
from undercroft.vault.schemas.json_text import DEEPEST
from undercroft.vault.schemas.pointers import join_pointer, split_pointer
from undercroft.vault.schemas.weights import SubschemaWeight, weigh_errors, weigh_work

MOST_CHECKS: Final = 200
"""Of one value. A choice of a hundred alternatives passes."""
MOST_SUBSCHEMAS: Final = 2_000
MOST_PATTERNS: Final = 100
LONGEST_PLACE: Final = 2_048
"""Characters of the pointer to a subschema: each is looked up from the root."""
LONGEST_PATTERN: Final = 500
_ENDLESS: Final = 1 << 30
"""Above every limit. Without a cap, references that branch would add up to numbers of hundreds of digits."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

# Where subschemas stand: as the keyword's value (False), or in the object or array that is its value (True).
_SAME: Final = {
    **dict.fromkeys(("not", "if", "then", "else"), False),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "dependentSchemas"), True),
}
"""They look at the same value as the schema they stand in."""
_INSIDE: Final = {
    **dict.fromkeys(
        ("contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties"), False
    ),
    "patternProperties": True,
}
"""They look at the values inside of it."""
_ONE_INSIDE: Final = {
    "items": False,
    "additionalProperties": False,
    "properties": True,
    "prefixItems": True,
}
"""Of all these together, only one looks at any one of the values inside."""
_DEFINITIONS: Final = {"$defs": True, "definitions": True}
_ONLY_AT_ROOT: Final = frozenset({"$id", "$schema"})
_REFUSED: Final = frozenset(
    {"$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"}
)


class _Subschema:
    """A subschema with the places of those that look at the same value, or at one inside of it."""

    def __init__(self, schema: object) -> None:
        self.schema: Mapping[str, object] = (
            cast("Mapping[str, object]", schema) if isinstance(schema, Mapping) else {}
        )
        self.same: list[str] = []
        self.inside: list[str] = []
        self.one_inside: list[str] = []


class SchemaCost:
    """Walks a schema, and what it refers to, once.

    Raises:
        InvalidSchemaError: When the schema refers to anything outside of itself, or is too large.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._found: dict[str, _Subschema] = {}
        self._patterns = 0
        if str(schema.get("$schema", DIALECT)).removesuffix("#") != DIALECT:
            raise InvalidSchemaError(f"its '$schema' should be '{DIALECT}', or absent.", "/$schema")
        waiting = [""]
        while waiting:
            pointer = waiting.pop()
            if pointer in self._found:
                continue
            if len(pointer) > LONGEST_PLACE:
                raise InvalidSchemaError("its names are too long to find a place in it.", pointer)
            if len(self._found) >= MOST_SUBSCHEMAS:
                raise InvalidSchemaError(f"it has more than {MOST_SUBSCHEMAS:,} subschemas.")
            self._found[pointer] = found = _Subschema(self._resolve(pointer))
            waiting.extend(self._visit(pointer, found))

    @property
    def has_alternatives(self) -> bool:
        """Whether it has ``anyOf`` or ``oneOf``, what is wrong with each of which is one error's cause."""
        return any({"anyOf", "oneOf"} & found.schema.keys() for found in self._found.values())

    def check(self) -> None:
        """Refuse a schema that could look at one value too often.

        Raises:
            InvalidSchemaError: When it could.
        """
        self._worst(lambda _: 1, MOST_CHECKS)

    def work(self) -> int:
        """How much it does for one byte of data at most, in looks at a value; of one that :meth:`check` takes."""
        return self._worst(weigh_work)

    def errors(self) -> int:
        """How many errors one value can be the cause of, larger ones counted more; of one that :meth:`check` takes."""
        return self._worst(weigh_errors)

    def _worst(self, weigh: SubschemaWeight, limit: int | None = None) -> int:
        """The weights of all looks at one value together, wherever it is.

        Raises:
            InvalidSchemaError: When they are over the limit.
        """
        weights = {pointer: weigh(found.schema) for pointer, found in self._found.items()}
        inside = dict.fromkeys(self._found, 0)
        for _ in range(DEEPEST + 1):
            below, inside = inside, self._one_level_up(inside, weights)
            pointer = max(inside, key=inside.__getitem__)
            if limit is not None and inside[pointer] > limit:
                raise _too_costly(pointer)
            if inside == below:
                break  # no part of it lies deeper
        return inside[""]

    def _one_level_up(
        self, inside: Mapping[str, int], weights: Mapping[str, int]
    ) -> dict[str, int]:
        """What each subschema's looks at the deepest value of one that is nested a level deeper weigh."""
        counts: dict[str, int] = {}
        for start in self._found:
            self._count(start, inside, weights, counts, set())
        return counts

    def _count(
        self,
        pointer: str,
        inside: Mapping[str, int],
        weights: Mapping[str, int],
        counts: dict[str, int],
        open_: set[str],
    ) -> int:
        known = counts.get(pointer)
        if known is not None:
            return known
        if pointer in open_:
            raise InvalidSchemaError("it refers to itself without end.", pointer)
        if len(open_) > MOST_CHECKS:
            raise _too_costly(pointer)
        open_.add(pointer)
        found = self._found[pointer]
        total = weights[pointer]
        total += sum(self._count(place, inside, weights, counts, open_) for place in found.same)
        total += sum(inside[place] for place in found.inside)
        total += max((inside[place] for place in found.one_inside), default=0)
        open_.discard(pointer)
        counts[pointer] = min(total, _ENDLESS)
        return counts[pointer]

    def _visit(self, pointer: str, found: _Subschema) -> Iterator[str]:
        """Note what a subschema leads to, and yield the places to visit next."""
        for keyword, value in found.schema.items():
            place = join_pointer(pointer, keyword)
            if keyword in _REFUSED or (keyword in _ONLY_AT_ROOT and pointer):
                raise InvalidSchemaError(f"'{keyword}' is not supported here.", place)
            self._count_patterns(keyword, value, place)
            if keyword == "$ref":
                found.same.append(self._target(value, place))
            found.same.extend(_places(_SAME, keyword, value, place))
            found.inside.extend(_places(_INSIDE, keyword, value, place))
            found.one_inside.extend(_places(_ONE_INSIDE, keyword, value, place))
            yield from _places(_DEFINITIONS, keyword, value, place)
        yield from (*found.same, *found.inside, *found.one_inside)

    def _count_patterns(self, keyword: str, value: object, place: str) -> None:
        patterns: list[object] = []
        if keyword == "pattern":
            patterns = [value]
        elif keyword == "patternProperties" and isinstance(value, Mapping):
            patterns = list(cast("Mapping[object, object]", value))
        self._patterns += len(patterns)
        if self._patterns > MOST_PATTERNS:
            raise InvalidSchemaError(f"it has more than {MOST_PATTERNS} patterns.", place)
        if any(isinstance(text, str) and len(text) > LONGEST_PATTERN for text in patterns):
            raise InvalidSchemaError(
                f"a pattern has more than {LONGEST_PATTERN} characters.", place
            )

    def _target(self, reference: object, place: str) -> str:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise InvalidSchemaError(
                "a '$ref' should point into this schema: '#/$defs/name'.", place
            )
        target = reference.removeprefix("#")
        if "%" in target:
            raise InvalidSchemaError("a '$ref' with percent signs is not supported.", place)
        self._resolve(target, place)
        return target

    def _resolve(self, pointer: str, place: str = "") -> object:
        value: object = self._schema
        try:
            for token in split_pointer(pointer):
                if isinstance(value, list):
                    value = cast("list[object]", value)[int(token)]
                else:
                    value = cast("Mapping[str, object]", value)[token]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InvalidSchemaError("a '$ref' points to nothing.", place) from error
        return value


def _too_costly(pointer: str) -> InvalidSchemaError:
    return InvalidSchemaError(
        f"its parts and references branch so that one value could be checked more than {MOST_CHECKS} times; make it "
        "flatter.",
        pointer,
    )


def _places(keywords: Mapping[str, bool], keyword: str, value: object, place: str) -> Iterable[str]:
    """Where a keyword's subschemas stand, if it is one of those; whether they are well-formed is checked elsewhere."""
    is_collection = keywords.get(keyword)
    if is_collection is None:
        return ()
    if not is_collection:
        return (place,)
    if isinstance(value, Mapping):
        return [join_pointer(place, str(name)) for name in cast("Mapping[object, object]", value)]
    if isinstance(value, list):
        return [join_pointer(place, number) for number in range(len(cast("list[object]", value)))]
    return ()

"""What is known of the documents that a search proposes: to count by, and to put in an order."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from undercroft.retrieval.filters import Value

MOST_VALUES: Final = 20
"""How many values a facet tells, the most frequent first."""

Known: TypeAlias = Mapping[str, Value]
"""A document's attributes where it is found, and what every document has."""


@dataclass(frozen=True, slots=True)
class Described:
    """A document that a search proposes.

    Attributes:
        chunk_ids: Its passages that are proposed.
    """

    document_id: UUID
    chunk_ids: frozenset[int]
    known: Known


@dataclass(frozen=True, slots=True)
class Sort:
    """Another order than by relevance.

    Attributes:
        key: Of what is known of a document. Where it is missing documents are last, whatever the direction.
    """

    key: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Facet:
    """How many of the documents have which value.

    Attributes:
        is_capped: Whether there may be more documents than were counted, or more values than are told.
    """

    key: str
    counts: Sequence[tuple[Value, int]]
    is_capped: bool


def count_values(
    documents: Iterable[Known], keys: Sequence[str], *, is_capped: bool
) -> list[Facet]:
    """The facets of these keys, in their order."""
    known = list(documents)
    facets: list[Facet] = []
    for key in keys:
        # True and 1 are one to a Counter, and two to a filter.
        counter = Counter(
            (type(value), value) for each in known if (value := each.get(key)) is not None
        )
        ordered = sorted(counter.items(), key=lambda item: (-item[1], str(item[0][1])))
        counts = [(value, count) for (_, value), count in ordered[:MOST_VALUES]]
        facets.append(Facet(key, counts, is_capped or len(ordered) > MOST_VALUES))
    return facets


def put_in_order(
    scores: Mapping[int, float], documents: Sequence[Described], sort: Sort
) -> dict[int, float]:
    """Ranked passages by what is known of their documents; by relevance where that is the same, or is nothing.

    Numbers come before texts, and texts before false and true. A passage of several documents counts as the
    first of them.
    """
    values: dict[int, Value] = {}
    for document in sorted(documents, key=lambda each: each.document_id):
        value = document.known.get(sort.key)
        if value is not None:
            for chunk_id in document.chunk_ids:
                values.setdefault(chunk_id, value)
    kinds: defaultdict[int, list[int]] = defaultdict(list)
    for chunk_id in scores:
        if chunk_id in values:
            kinds[_kind(values[chunk_id])].append(chunk_id)
    ordered: list[int] = []
    for kind in sorted(kinds, reverse=sort.is_descending):
        # Python's sort keeps what is the same in its order, in reverse as well.
        ordered += sorted(
            kinds[kind],
            key=lambda chunk_id: values[chunk_id],  # type: ignore[arg-type, return-value]
            reverse=sort.is_descending,
        )
    ordered += [chunk_id for chunk_id in scores if chunk_id not in values]
    return {chunk_id: scores[chunk_id] for chunk_id in ordered}


def _kind(value: Value) -> int:
    if isinstance(value, bool):
        return 2
    return 1 if isinstance(value, str) else 0

"""What is answered to a search over everything, and to who asks where an answer comes from."""

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field

from undercroft.http.objects import Opening, Shown
from undercroft.http.wire import (
    AttributeValue,
    JsonObject,
    render_value,
)
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import grant_reference
from undercroft.retrieval.search.describing import Facet
from undercroft.retrieval.search.ladder import Diagnostics
from undercroft.retrieval.search.models import FoundPassage
from undercroft.vault.models import DOCUMENT_PREFIX


class SearchResult(Shown):
    """A passage that was found."""

    document: str
    version: int
    filename: str
    text: str
    score: Annotated[float, Field(description="In (0, 1], made of ranks alone.")]
    start: int
    end: int
    page: int | None
    page_end: int | None
    headings: list[str]
    grants: Annotated[list[str], Field(description="Under which it is shown; none for one's own.")]


class Highlight(Shown):
    """Where in the document's extracted text words stand that were asked for."""

    start: int
    end: int


class MarkedSearchResult(SearchResult):
    """A passage that was found, and what of the query stands in it."""

    highlights: Annotated[
        list[Highlight],
        Field(description="In characters of the extracted text, as `start` and `end`; at most 50."),
    ]


class Correction(Shown):
    """A word that occurs nowhere, and the one that was looked for instead."""

    word: str
    instead: str


class Understanding(Shown):
    """How a query was read, and which steps were taken to answer it."""

    phrases: list[str]
    prefixes: list[str]
    excluded: list[str]
    identifiers: list[str]
    steps: Annotated[
        list[str],
        Field(
            description="`no_words`, `phrases`, `phrases_as_words`, `all_words`, `most_words`, `any_word`, "
            "`corrected_words`, `meaning_alone`, `nothing`: those that were taken. The last one answered."
        ),
    ]
    corrections: list[Correction]


class FacetValue(Shown):
    """A value, and how many documents have it."""

    value: AttributeValue
    count: int


class FacetObject(Shown):
    """How many of the documents that were proposed have which value."""

    key: str
    values: Annotated[list[FacetValue], Field(description="The most frequent first, 20 at most.")]
    is_capped: Annotated[
        bool, Field(description="There may be more values, or documents, than are counted.")
    ]


class SearchResults(Shown):
    """Passages, best first."""

    object: Literal["search.results"]
    data: list[MarkedSearchResult]
    understanding: Understanding
    degraded: Annotated[
        list[str],
        Field(
            description="What could not be asked, or not as it was wished: `vector`, `reranker`, `exact`."
        ),
    ]
    facets: Annotated[list[FacetObject], Field(description="Those that were asked for.")]


class PassageStatement(Shown):
    """What the ledger commits to of a passage."""

    document: str
    version: int
    start: Annotated[int, Field(description="Of its first character in the extracted text.")]
    end: int
    number: int
    score: str
    grants: Annotated[str, Field(description="Those it was released under, or nothing.")]
    text_sha256: str


class PassageOpening(Shown):
    """What opens a passage's commitment: SHA-256(salt || statement as RFC 8785 spells it)."""

    salt: str
    statement: PassageStatement


class ProvenancePassage(Shown):
    """A passage that an answer was made from."""

    number: int
    commitment: str
    opening: PassageOpening | None


class ProvedEntry(Shown):
    """An entry of the ledger with its proof."""

    id: str
    action: str
    canonical: str
    openings: dict[str, Opening]
    proof: Annotated[str, Field(description="As tlog-proof@v1.")]


class ProvenanceObject(Shown):
    """Where an answer comes from, as `undercroft verify` takes it."""

    format: Literal["undercroft-provenance@v1"]
    response: str
    model: str
    passages: list[ProvenancePassage]
    entries: list[ProvedEntry]


def render_marked(passage: FoundPassage) -> JsonObject:
    """A passage that was found, and what of the query stands in it."""
    return {**render_passage(passage), "highlights": render_highlights(passage)}


def render_highlights(passage: FoundPassage) -> list[JsonObject]:
    """Where the words stand that were asked for."""
    return [{"start": start, "end": end} for start, end in passage.highlights]


def render_understanding(diagnostics: Diagnostics) -> JsonObject:
    """How a query was read and answered."""
    return {
        **{name: list(pieces) for name, pieces in asdict(diagnostics.demands).items()},
        "steps": list(diagnostics.steps),
        "corrections": [
            {"word": word, "instead": instead} for word, instead in diagnostics.corrections.items()
        ],
    }


def render_facet(facet: Facet) -> JsonObject:
    """How many documents have which value."""
    return {
        "key": facet.key,
        "values": [{"value": render_value(value), "count": count} for value, count in facet.counts],
        "is_capped": facet.is_capped,
    }


def render_passage(passage: FoundPassage) -> JsonObject:
    """A passage that was found."""
    return {
        "document": render_id(DOCUMENT_PREFIX, passage.document_id),
        "version": passage.document_version,
        "filename": passage.filename,
        "text": passage.text,
        "score": passage.score,
        "start": passage.start,
        "end": passage.end,
        "page": passage.page_start,
        "page_end": passage.page_end,
        "headings": list(passage.headings),
        "grants": [grant_reference(grant.id) for grant in passage.way.grants],
    }

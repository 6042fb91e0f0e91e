"""What of the proposed passages is released: as far as the caller may search it, and on record as that.

All of it in one transaction. Each statement authorises what it reads (invariant 2); which pages and sections a passage
stands in is known once it is open, so the parts of a grant are decided here.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, unseal
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.retrieval.passages import PassageText, open_row, place_of
from undercroft.retrieval.search.describing import Facet, count_values, put_in_order
from undercroft.retrieval.search.highlights import find_beginnings
from undercroft.retrieval.search.models import FoundPassage, Proposals, SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.titles import hidden_beginning, shown_titles, words_in_parts
from undercroft.sharing.models import ModelUse, Way
from undercroft.sharing.policy import choose_way, read_ways, ways_for_models, ways_to_place
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import acts_under, join_ways
from undercroft.vault.access import document_name_place
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX

_REFILL: Final = 100
"""How many more proposals are read at once when the first ones did not fill the answer."""
_OPENED_AT_ONCE: Final = 100
"""Passages that are decrypted in one go: a few milliseconds."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What of some proposals may be told, once it is released.

    Attributes:
        found: The best passages.
        facets: Of the documents of all that is shared.
        shared: Of the proposals, as many of each leg as count.
    """

    found: Sequence[tuple[FoundPassage, Record]]
    facets: Sequence[Facet]
    shared: Proposals


class PassageReader:
    """Releases passages.

    Args:
        keys: Open them.
        ledger: Where it is put on record.
    """

    def __init__(self, keys: KeyRing, ledger: Ledger) -> None:
        self._keys = keys
        self._ledger = ledger
        self._uses = GrantUses()
        self._repository = SearchRepository()

    async def read(
        self, transaction: Transaction, query: SearchQuery, proposals: Proposals
    ) -> list[tuple[FoundPassage, Record]]:
        """The best of the proposals that the caller may see: they may be told once they are released."""
        asked = replace(query, facets=(), sort=None)
        return list((await self.read_counted(transaction, asked, proposals, sys.maxsize)).found)

    async def read_counted(
        self, transaction: Transaction, query: SearchQuery, proposals: Proposals, candidates: int
    ) -> Reading:
        """The same in the order that was asked for, and how many documents of all that counts have which value.

        What stands in parts that are not shared is not counted, and makes no count one that may fall short: it would
        tell that the question's words are there.

        Args:
            transaction: In which they are read.
            query: What was asked.
            proposals: What the legs found.
            candidates: How many of each leg count, of those that are shared.
        """
        if not query.demands and not query.is_described:
            whole = await self._read_whole(
                transaction, query, proposals.first(candidates), proposals
            )
            if whole is not None:
                return whole
        scores, shared = await self._rank(transaction, query, proposals, candidates)
        facets: list[Facet] = []
        if query.is_described:
            documents = await self._repository.list_described(transaction, query, list(scores))
            if query.sort is not None:
                scores = put_in_order(scores, documents, query.sort)
            known = [document.known for document in documents]
            facets = count_values(known, query.facets, is_capped=shared.reach(candidates))
        return Reading(await self._fill(transaction, query, scores), facets, shared)

    async def release(
        self,
        transaction: Transaction,
        scope: Scope,
        query: SearchQuery,
        proposals: Proposals,
        found: Sequence[tuple[FoundPassage, Record]],
        searched: Sequence[Act],
    ) -> list[FoundPassage]:
        """What the same transaction has read, on record as that.

        Args:
            transaction: With which they are released: nothing of them may be told before it has committed.
            scope: Who searches.
            query: What was asked.
            proposals: What the legs found.
            found: What of it was read.
            searched: What else goes on record: which collections were searched.

        Raises:
            GrantEndedError: When another had the last use of a grant that a model's passages rest on.
        """
        if query.model_use:
            await self._uses.count(transaction, join_ways(passage.way for passage, _ in found))
        action = "document.answer" if query.model_use else "document.search"
        acts = _acts(scope, action, found)
        entry_ids = iter(
            await self._ledger.append(
                transaction, scope, *searched, *(act for each in acts.values() for act in each)
            )
        )
        for _ in searched:
            next(entry_ids)
        entries = {key: tuple(next(entry_ids) for _ in each) for key, each in acts.items()}
        similarities = proposals.similarities or {}
        return [
            replace(
                passage,
                similarity=similarities.get(passage.chunk_id),
                entry_ids=entries[passage.document_id, passage.way],
            )
            for passage, _ in found
        ]

    async def record_ranking(
        self, transaction: Transaction, scope: Scope, found: Sequence[tuple[FoundPassage, Record]]
    ) -> None:
        """That what the same transaction has read is sent elsewhere to be ranked, once it has committed."""
        acts = _acts(scope, "document.rank", found)
        await self._ledger.append(
            transaction, scope, *(act for each in acts.values() for act in each)
        )

    async def _read_whole(
        self, transaction: Transaction, query: SearchQuery, counted: Proposals, proposals: Proposals
    ) -> Reading | None:
        """The best of those that count by one statement; None where some proposal may be in a document shared in parts.

        Where none is, these ranks tell of nothing that is not shown.
        """
        scores = counted.rank()
        best = list(scores)[: query.limit]
        rows = await self._repository.list_passages(transaction, query, best, proposals.chunk_ids)
        if not rows or rows[0]["is_among_parts"]:
            return None
        return Reading(await self._fill(transaction, query, scores, rows), [], counted)

    async def _rank(
        self,
        transaction: Transaction,
        query: SearchQuery,
        proposals: Proposals,
        candidates: int = sys.maxsize,
    ) -> tuple[dict[int, float], Proposals]:
        """Those of the proposals that are as demanded, best first; and of what is shared, as many of a leg as count."""
        hidden, shown = await self._look_at_parts(transaction, query, proposals.chunk_ids)
        shared = proposals.without(hidden)
        if not query.demands and not shown:
            shared = shared.first(candidates)
            return shared.rank(), shared
        rows = await self._repository.judge_proposals(transaction, shared.chunk_ids, query, shown)
        shared = shared.without(wordless={row["chunk_id"] for row in rows if not row["has_word"]})
        shared = shared.first(candidates)
        demanded = shared.without({row["chunk_id"] for row in rows if not row["is_demanded"]})
        return demanded.rank({row["chunk_id"] for row in rows if row["has_identifier"]}), shared

    async def _look_at_parts(
        self, transaction: Transaction, query: SearchQuery, chunk_ids: Sequence[int]
    ) -> tuple[set[int], dict[int, str]]:
        """Of proposals in documents that are shared in parts: which do not show, and the words of those that do.

        Those words are without the titles above what is shared, which the index has of each passage: what is demanded
        of one, and what a reply tells of its words, would else tell of the titles.
        """
        rows = await self._repository.list_partly_shared(transaction, chunk_ids)
        hidden = {row["chunk_id"] for row in rows}
        shown: dict[int, str] = {}
        for place, row in enumerate(rows):
            if place % _OPENED_AT_ONCE == _OPENED_AT_ONCE - 1:
                # Thousands may have to be opened: others have their turn.
                await asyncio.sleep(0)
            passage = await self._open(row)
            way = None if passage is None else _find_way(row, passage, query.model_use)
            if passage is None or way is None or row["chunk_id"] not in hidden:
                continue
            text = passage.text[_hidden(way, passage) :]
            # Of which nothing shows but titles above it takes no place: else ranks would tell of them.
            if not text:
                continue
            hidden.discard(row["chunk_id"])
            words = words_in_parts(way, text, passage.headings)
            if words is not None:
                shown[row["chunk_id"]] = words
        return hidden, shown

    async def _fill(
        self,
        transaction: Transaction,
        query: SearchQuery,
        scores: Mapping[int, float],
        rows: Sequence[Record] | None = None,
    ) -> list[tuple[FoundPassage, Record]]:
        """As many as are wanted, while there are proposals: what is held back leaves its place to the next.

        Args:
            transaction: In which they are read.
            query: What is asked.
            scores: Of the proposals, best first.
            rows: What was read of the first of them, as many as are wanted, if it was.
        """
        candidates = list(scores)
        found: dict[int, tuple[FoundPassage, Record]] = {}
        start, size = 0, query.limit
        while start < len(candidates) and len(found) < query.limit:
            if rows is None:
                rows = await self._repository.list_passages(
                    transaction, query, candidates[start : start + size]
                )
            for row in rows:
                chunk_id = row["chunk_id"]
                if chunk_id not in found:
                    passage = await self._release(row, query, scores[chunk_id])
                    if passage is not None:
                        found[chunk_id] = (passage, row)
            rows, start, size = None, start + size, _REFILL
        return list(found.values())[: query.limit]

    async def _release(self, row: Record, query: SearchQuery, score: float) -> FoundPassage | None:
        """A passage with the way that it is released by; None where there is none, or it does not open."""
        passage = await self._open(row)
        if passage is None:
            return None
        way = _find_way(row, passage, query.model_use)
        if way is None:
            return None
        try:
            name_key = await self._keys.open(row, "name_")
            name_place = document_name_place(row["tenant_id"], row["document_id"])
            filename = unseal(name_key.material, row["sealed_name"], name_place).decode()
        except DecryptionError:
            _log_damaged(row)
            return None
        shown = _passage(row, passage, filename, score, way)
        return shown if shown.text and _has_beginnings(shown, query.demands.prefixes) else None

    async def _open(self, row: Record) -> PassageText | None:
        try:
            key = await self._keys.open(row)
            return open_row(key.material, row)
        except DecryptionError:
            # One damaged passage must not keep the others from whoever searches.
            _log_damaged(row)
            return None


def _acts(
    scope: Scope, action: Action, found: Sequence[tuple[FoundPassage, Record]]
) -> dict[tuple[UUID, Way], list[Act]]:
    """What is done with the documents of some passages, as it goes on record."""
    acts: dict[tuple[UUID, Way], list[Act]] = {}
    for passage, row in found:
        subject = Subject(render_id(DOCUMENT_PREFIX, passage.document_id), row["name_salt"])
        act = Act(action, subject, row["owner_id"], passage.document_version)
        acts[passage.document_id, passage.way] = acts_under(scope, passage.way, act)
    return acts


def _log_damaged(row: Record) -> None:
    _log.error("passage_damaged", chunk_id=row["chunk_id"], blob_id=str(row["blob_id"]))


def _has_beginnings(passage: FoundPassage, prefixes: Sequence[str]) -> bool:
    """Whether it has a word that begins so, for each: the index has its words' stems, which begin as others do too."""
    titles = (*passage.headings, *(title for _, path in passage.later_headings for title in path))
    text = "\n".join((passage.text, passage.filename, *titles)) if prefixes else ""
    return all(find_beginnings(text, prefix) for prefix in prefixes)


def _find_way(row: Record, passage: PassageText, model_use: frozenset[ModelUse]) -> Way | None:
    """The way that is taken: one that lets a model do what it is going to, and quote as well if there is such a one."""
    place = place_of(passage, row["page_start"], row["page_end"])
    ways = ways_to_place(read_ways(row["ways"]), place)
    possible = ways_for_models(ways, model_use)
    if model_use:
        possible = ways_for_models(possible, frozenset({ModelUse.QUOTE})) or possible
    return choose_way(possible) if possible else None


def _hidden(way: Way, passage: PassageText) -> int:
    """How many characters of its beginning do not show."""
    starts = next(iter(passage.heading_starts), ())
    return hidden_beginning(way, passage.text, passage.headings, starts)


def _passage(
    row: Record, passage: PassageText, filename: str, score: float, way: Way
) -> FoundPassage:
    """What of a passage shows: neither in it nor above it a title outside of what is shared."""
    hidden = _hidden(way, passage)
    return FoundPassage(
        chunk_id=row["chunk_id"],
        document_id=row["document_id"],
        document_version=row["current_version"],
        filename=filename,
        attributes=row["attributes"],
        text=passage.text[hidden:],
        start=row["start_offset"] + hidden,
        end=row["end_offset"],
        page_start=row["page_start"],
        page_end=row["page_end"],
        headings=shown_titles(way, passage.headings),
        score=score,
        similarity=None,
        later_headings=tuple(
            (at - hidden, shown_titles(way, path)) for at, path in passage.later_headings
        ),
        way=way,
        is_own=row["is_own"],
        hidden=hidden,
    )

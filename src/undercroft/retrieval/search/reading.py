"""What of the proposed passages is released: as far as the caller may search it, and on record as that.

All of it in one transaction. Each statement authorises what it reads (invariant 2); which pages and sections a passage
stands in is known once it is open, so the parts of a grant are decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, unseal
from undercroft.kit.database import Scope, Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.retrieval.passages import PassageText, open_row, place_of
from undercroft.retrieval.search.describing import Facet, count_values, put_in_order
from undercroft.retrieval.search.models import FoundPassage, Proposals, SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.titles import hidden_beginning, shown_titles
from undercroft.sharing.models import ModelUse, Way
from undercroft.sharing.policy import choose_way, read_ways, ways_for_models, ways_to_place
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import acts_under, join_ways
from undercroft.vault.access import document_name_place
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX

_REFILL: Final = 100
"""How many more proposals are read at once when the first ones did not fill the answer."""

_log = structlog.stdlib.get_logger(__name__)


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
        hidden = await self._find_hidden(transaction, proposals.chunk_ids)
        return await self._fill(transaction, query, proposals.rank(hidden))

    async def read_described(
        self, transaction: Transaction, query: SearchQuery, proposals: Proposals, *, is_capped: bool
    ) -> tuple[list[tuple[FoundPassage, Record]], list[Facet]]:
        """The same in the order that was asked for, and how many documents of all that is proposed have which value.

        What stands in parts that are not shared is not counted: it would tell that the question's words are there.
        """
        hidden = await self._find_hidden(transaction, proposals.chunk_ids)
        scores = proposals.rank(hidden)
        documents = await self._repository.list_described(transaction, query, list(scores))
        if query.sort is not None:
            scores = put_in_order(scores, documents, query.sort)
        known = [document.known for document in documents]
        facets = count_values(known, query.facets, is_capped=is_capped)
        return await self._fill(transaction, query, scores), facets

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

    async def _find_hidden(self, transaction: Transaction, chunk_ids: Sequence[int]) -> set[int]:
        """Which of the proposals stand in parts that are not shared, in documents of which other parts are."""
        rows = await self._repository.list_partly_shared(transaction, chunk_ids)
        shown: set[int] = set()
        for row in rows:
            passage = await self._open(row)
            if passage is not None and ways_to_place(
                read_ways(row["ways"]), place_of(passage, row["page_start"], row["page_end"])
            ):
                shown.add(row["chunk_id"])
        return {row["chunk_id"] for row in rows} - shown

    async def _fill(
        self, transaction: Transaction, query: SearchQuery, scores: Mapping[int, float]
    ) -> list[tuple[FoundPassage, Record]]:
        """As many as are wanted, while there are proposals: what is held back leaves its place to the next."""
        candidates = list(scores)
        found: dict[int, tuple[FoundPassage, Record]] = {}
        start, size = 0, query.limit
        while start < len(candidates) and len(found) < query.limit:
            rows = await self._repository.list_passages(
                transaction, query, candidates[start : start + size]
            )
            for row in rows:
                chunk_id = row["chunk_id"]
                if chunk_id not in found:
                    passage = await self._release(row, query.model_use, scores[chunk_id])
                    if passage is not None:
                        found[chunk_id] = (passage, row)
            start, size = start + size, _REFILL
        return list(found.values())[: query.limit]

    async def _release(
        self, row: Record, model_use: frozenset[ModelUse], score: float
    ) -> FoundPassage | None:
        """A passage with the way that it is released by; None where there is none, or it does not open."""
        passage = await self._open(row)
        if passage is None:
            return None
        ways = ways_to_place(
            read_ways(row["ways"]), place_of(passage, row["page_start"], row["page_end"])
        )
        way = _choose_way(ways, model_use)
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
        return shown if shown.text else None

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


def _choose_way(ways: Sequence[Way], model_use: frozenset[ModelUse]) -> Way | None:
    """The way that is taken: one that lets a model do what it is going to, and quote as well if there is such a one."""
    possible = ways_for_models(ways, model_use)
    if model_use:
        possible = ways_for_models(possible, frozenset({ModelUse.QUOTE})) or possible
    return choose_way(possible) if possible else None


def _passage(
    row: Record, passage: PassageText, filename: str, score: float, way: Way
) -> FoundPassage:
    """What of a passage shows: neither in it nor above it a title outside of what is shared."""
    hidden = hidden_beginning(
        way, passage.text, passage.headings, next(iter(passage.heading_starts), ())
    )
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

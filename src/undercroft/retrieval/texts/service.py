"""Reads the text of documents: all of it, or the pages and sections that were shared."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.retrieval.passages import open_row
from undercroft.retrieval.texts.errors import NotIndexedError, TextChangedError, TextSealedError
from undercroft.retrieval.texts.models import (
    BEGINNING,
    EVERYTHING,
    TextPage,
    TextPiece,
    TextPosition,
    TextSelection,
)
from undercroft.retrieval.texts.pieces import cut_passage, show_piece
from undercroft.retrieval.texts.repository import TextRepository
from undercroft.sharing.errors import ModelUseError
from undercroft.sharing.models import GrantAction, ModelUse, Way
from undercroft.sharing.policy import choose_way, ways_for_models
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import acts_under, join_ways, read_access
from undercroft.vault.access import DocumentAccess, no_document
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, IndexState

_READ: Final = (GrantAction.READ, GrantAction.READ_PARTS)
_BATCH: Final = 200
"""How many chunks are read at once: a page is filled from as many as it takes, most of which may be of hidden parts."""


class TextService:
    """Reads what was extracted from documents.

    Args:
        database: Where it is.
        keys: Open it.
        ledger: Where it is put on record.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger) -> None:
        self._keys = keys
        self._ledger = ledger
        self._access = DocumentAccess(database, keys, ledger)
        self._uses = GrantUses()
        self._repository = TextRepository()

    async def read(
        self,
        scope: Scope,
        document_id: UUID,
        after: TextPosition | None,
        limit: int,
        model_use: frozenset[ModelUse] = frozenset(),
        selection: TextSelection = EVERYTHING,
    ) -> TextPage:
        """A page of a document's text; one use of what it is shown under.

        Args:
            scope: Who reads.
            document_id: Which document.
            after: The last piece of the page before.
            limit: The most pieces.
            model_use: What a model is going to do with them; nothing where only a person sees them.
            selection: Which of what the principal is shown they want.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and read none of it.
            ModelUseError: When they may read it, and not show it to such a model.
            GrantEndedError: When another had the last use of a grant.
            TextSealedError: When it is sealed.
            NotIndexedError: When its text was not extracted.
            TextChangedError: When the page before was of another version.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            begun, found = await self._fill(
                transaction, document_id, after, limit, model_use, selection
            )
            pieces = found[:limit]
            if pieces:
                way = join_ways(piece.way for piece in pieces)
                await self._uses.count(transaction, way)
            else:
                way = choose_way(_require_ways(begun, model_use))
            version = begun["current_version"]
            subject = Subject(render_id(DOCUMENT_PREFIX, document_id), begun["document_salt"])
            act = Act("document.read", subject, begun["owner_id"], version)
            await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
        return TextPage(document_id, version, pieces, has_more=len(found) > limit)

    async def _fill(
        self,
        transaction: Transaction,
        document_id: UUID,
        after: TextPosition | None,
        limit: int,
        model_use: frozenset[ModelUse],
        selection: TextSelection,
    ) -> tuple[Record, list[TextPiece]]:
        """One piece more than the page holds, if there are so many, and the row by which the document was reached."""
        version = None if after is None else after.version
        begin = BEGINNING if after is None else after.start
        found: list[TextPiece] = []
        offset = begin
        while True:
            rows = await self._repository.list_chunks(
                transaction, document_id, _READ, offset, _BATCH, selection.page
            )
            if not rows:
                await self._access.refuse(transaction, document_id, _READ)
                raise no_document(document_id)
            first = rows[0]
            ways = _require_ways(first, model_use)
            _require_text(first)
            # Each batch is read in a snapshot of its own.
            version = first["current_version"] if version is None else version
            if first["current_version"] != version:
                raise TextChangedError
            if first["ordinal"] is None:
                return first, found
            key = await self._keys.open(first)
            shown = await asyncio.to_thread(_open_pieces, key, rows, ways)
            found.extend(piece for piece in shown if piece.start > begin and selection.holds(piece))
            if len(found) > limit or len(rows) < _BATCH:
                return first, found
            offset = rows[-1]["end_offset"]


def _require_ways(row: Record, model_use: frozenset[ModelUse]) -> Sequence[Way]:
    """The ways that let the caller read it, and show it to a model that does this."""
    ways = ways_for_models(read_access(row["action"], row["ways"]).ways, model_use)
    if not ways:
        raise ModelUseError
    return ways


def _require_text(row: Record) -> None:
    if row["is_sealed"]:
        raise TextSealedError
    state = IndexState(row["index_state"])
    if state is not IndexState.INDEXED:
        raise NotIndexedError(state)


def _open_pieces(key: DataKey, rows: Sequence[Record], ways: Sequence[Way]) -> list[TextPiece]:
    """What of these chunks the ways show."""
    shown: list[TextPiece] = []
    for row in rows:
        passage = open_row(key.material, row)
        pieces = cut_passage(passage, row["start_offset"], row["page_start"], row["page_end"])
        shown.extend(filter(None, (show_piece(piece, ways) for piece in pieces)))
    return shown

"""What a tenant's log publishes: its checkpoint, tiles, entries and proofs."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.errors import NotYetSequencedError
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.merkle import (
    TILE_HEIGHT,
    Coordinate,
    Subtree,
    consistency_subtrees,
    inclusion_subtrees,
    needed_hashes,
    subtree_hash,
)
from undercroft.ledger.models import ENTRY_PREFIX, AuditEntry, LogDescription, LogState
from undercroft.ledger.notes import proof_text, verifier_key
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.tiles import Tile, bundle

_PATIENCE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.03


class LedgerReader:
    """Reads logs.

    Args:
        database: Where they are.
        keys: Their keys, of which it publishes the public halves.
        sequencer: Woken for what is waited for.
        clock: For the deadline of that wait.
    """

    def __init__(
        self, database: Database, keys: LogKeys, sequencer: Sequencer, clock: Clock
    ) -> None:
        self._database = database
        self._keys = keys
        self._sequencer = sequencer
        self._clock = clock
        self._repository = LedgerRepository()

    async def describe(self, scope: Scope) -> LogDescription:
        """The scope's own log; its first key is made and its checkpoint signed if need be.

        Raises:
            KeyUnavailableError: When a key is to be made and the key provider does not answer.
        """
        state = await self._find_state(scope)
        if state.checkpoint is None:
            await self._sequencer.sequence(scope.tenant_id)
            state = await self._find_state(scope)
        keys = await self._keys.list_published(scope.tenant_id)
        verifiers = tuple(verifier_key(key.name, key.public_key) for key in keys)
        return LogDescription(state.id, keys[0].name, verifiers, state.size)

    async def find_checkpoint(self, log_id: UUID) -> str:
        """The checkpoint of any log: anybody may read it.

        Raises:
            NotFoundError: When there is no such log, or nothing in it and nobody has asked for it.
        """
        async with self._database.transaction_without_scope() as transaction:
            checkpoint = await self._repository.find_checkpoint(transaction, log_id)
        if checkpoint is None:
            raise NotFoundError("log", log_id.hex)
        return checkpoint

    async def read_tile(self, scope: Scope, log_id: UUID, level: int, tile: Tile) -> bytes:
        """The hashes of a tile, one after the other.

        Raises:
            NotFoundError: When the log is not the scope's, or has not grown as far.
        """
        async with self._database.transaction(scope) as transaction:
            state = await self._require_log(transaction, scope, log_id)
            if level * TILE_HEIGHT > 63 or tile.end > state.size >> level * TILE_HEIGHT:
                raise NotFoundError("tile", f"{level}/{tile.index}")
            found = await self._read_hashes(transaction, scope, [(level, tile.start, tile.end)])
        return b"".join(found[level, position] for position in range(tile.start, tile.end))

    async def read_entries(self, scope: Scope, log_id: UUID, tile: Tile) -> bytes:
        """The bundle of a tile's entries.

        Raises:
            NotFoundError: When the log is not the scope's, or has not grown as far.
        """
        async with self._database.transaction(scope) as transaction:
            state = await self._require_log(transaction, scope, log_id)
            if tile.end > state.size:
                raise NotFoundError("entry bundle", str(tile.index))
            leaves = await self._repository.list_leaves(
                transaction, scope.tenant_id, tile.start, tile.end
            )
        return bundle(leaves)

    async def prove_inclusion(
        self, scope: Scope, index: int, size: int | None
    ) -> tuple[int, list[bytes]]:
        """The path from an entry to the root of the tree of a size, which is the current one unless given.

        Raises:
            InvalidRequestError: Unless ``0 <= index < size <=`` the current size.
        """
        async with self._database.transaction(scope) as transaction:
            size = await self._known_size(transaction, scope, size, "size")
            if not 0 <= index < size:
                raise InvalidRequestError(
                    f"The tree has {size} entries, of which the first is 0.", param="index"
                )
            return size, await self._prove(transaction, scope, inclusion_subtrees(index, size))

    async def prove_consistency(
        self, scope: Scope, old_size: int, size: int | None
    ) -> tuple[int, list[bytes]]:
        """What shows that the tree of a size, the current one unless given, begins with that of ``old_size``.

        Raises:
            InvalidRequestError: Unless ``0 <= old_size <= size <=`` the current size.
        """
        async with self._database.transaction(scope) as transaction:
            size = await self._known_size(transaction, scope, size, "to")
            if not 0 <= old_size <= size:
                raise InvalidRequestError(
                    f"The later tree has {size} entries, and the earlier one no more than that.",
                    param="from",
                )
            subtrees = consistency_subtrees(old_size, size)
            return size, await self._prove(transaction, scope, subtrees)

    async def prove_entry(self, scope: Scope, entry_id: UUID, viewer_id: UUID | None) -> str:
        """A proof in the text of tlog-proof@v1 that an entry is in the current checkpoint's tree.

        Args:
            scope: The entry's tenant.
            entry_id: The entry.
            viewer_id: Who asks, if it has to be the entry's actor or owner.

        Raises:
            NotFoundError: When there is none that the viewer may see.
            NotYetSequencedError: When it gets no number within two seconds.
        """
        entry, _ = await self.wait_for_entry(scope, entry_id, viewer_id)
        async with self._database.transaction(scope) as transaction:
            state = await self._repository.get_log_state(transaction, scope.tenant_id)
            if state.checkpoint is None:
                raise NotYetSequencedError
            subtrees = inclusion_subtrees(entry.position, state.size)
            path = await self._prove(transaction, scope, subtrees)
        return proof_text(entry.position, path, state.checkpoint)

    async def wait_for_entry(
        self, scope: Scope, entry_id: UUID, viewer_id: UUID | None
    ) -> tuple[AuditEntry, bytes]:
        """An entry and its bytes, once it has a number.

        Raises:
            NotFoundError: When there is none that the viewer may see.
            NotYetSequencedError: When it gets no number within two seconds.
        """
        deadline = self._clock.monotonic() + _PATIENCE_SECONDS
        while True:
            found, is_pending = await self._look(scope, entry_id, viewer_id)
            if found is not None:
                return found
            if not is_pending:
                raise NotFoundError("entry", render_id(ENTRY_PREFIX, entry_id))
            if self._clock.monotonic() >= deadline:
                raise NotYetSequencedError
            # Looked for, because it may be another process that numbers it.
            self._sequencer.wake()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(
        self, scope: Scope, entry_id: UUID, viewer_id: UUID | None
    ) -> tuple[tuple[AuditEntry, bytes] | None, bool]:
        """The entry, or whether it is pending. In this order it is seen in one place, if it moves meanwhile."""
        tenant_id, repository = scope.tenant_id, self._repository
        async with self._database.transaction(scope) as transaction:
            found = await repository.find_entry(transaction, tenant_id, entry_id, viewer_id)
            if found is not None:
                return found, False
            if await repository.is_pending(transaction, tenant_id, entry_id, viewer_id):
                return None, True
            return await repository.find_entry(transaction, tenant_id, entry_id, viewer_id), False

    async def _find_state(self, scope: Scope) -> LogState:
        async with self._database.transaction(scope) as transaction:
            return await self._repository.get_log_state(transaction, scope.tenant_id)

    async def _require_log(self, transaction: Transaction, scope: Scope, log_id: UUID) -> LogState:
        state = await self._repository.get_log_state(transaction, scope.tenant_id)
        if state.id != log_id:
            raise NotFoundError("log", log_id.hex)
        return state

    async def _known_size(
        self, transaction: Transaction, scope: Scope, size: int | None, param: str
    ) -> int:
        state = await self._repository.get_log_state(transaction, scope.tenant_id)
        if size is None:
            return state.size
        if not 0 <= size <= state.size:
            raise InvalidRequestError(f"The tree has {state.size} entries so far.", param=param)
        return size

    async def _prove(
        self, transaction: Transaction, scope: Scope, subtrees: Sequence[Subtree]
    ) -> list[bytes]:
        found = await self._read_hashes(transaction, scope, needed_hashes(subtrees))
        return [subtree_hash(subtree, found.__getitem__) for subtree in subtrees]

    async def _read_hashes(
        self, transaction: Transaction, scope: Scope, runs: Iterable[tuple[int, int, int]]
    ) -> dict[Coordinate, bytes]:
        """Stored hashes; level 0 is made from the entries themselves, so that no copy can differ from them."""
        runs = list(runs)
        leaves = [(first, after_last) for level, first, after_last in runs if level == 0]
        above = [run for run in runs if run[0] > 0]
        found: dict[Coordinate, bytes] = {}
        if leaves:
            found |= await self._repository.list_leaf_hashes(transaction, scope.tenant_id, leaves)
        if above:
            found |= await self._repository.list_tile_hashes(transaction, scope.tenant_id, above)
        return found

"""Examines all that one tenant keeps, in whatever transaction it is given."""

from dataclasses import dataclass
from uuid import UUID

from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Transaction
from undercroft.operations.examination.contents import ContentExamination, LookAgain
from undercroft.operations.examination.findings import Findings
from undercroft.operations.examination.index import IndexExamination
from undercroft.operations.examination.ledger import LedgerExamination
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.service import KeyRing


@dataclass(frozen=True, slots=True)
class Examined:
    """A tenant that was examined.

    Attributes:
        size: Of its log.
        contents: How many it has.
        tiles_only: Whether nothing is wrong with its log but hashes that can be derived again from its entries.
        to_index: Contents whose passages are not all there.
        statistics_are_wrong: Whether words or passages are counted wrongly.
    """

    log_id: UUID
    size: int
    checkpoint: str | None
    contents: int
    tiles_only: bool = False
    to_index: frozenset[UUID] = frozenset()
    statistics_are_wrong: bool = False


class Examiner:
    """Opens and derives again what tenants keep.

    Args:
        store: Where blobs are.
        provider: Wraps the tenants' keys.
        keys: Opens what those wrap.
    """

    def __init__(self, store: BlobStore, provider: KeyProvider, keys: KeyRing) -> None:
        self._store = store
        self._provider = provider
        self._keys = keys

    async def examine(
        self,
        transaction: Transaction,
        tenant_id: UUID,
        findings: Findings,
        *,
        look_again: LookAgain,
        with_index: bool,
    ) -> Examined:
        """Examine one tenant.

        Args:
            transaction: In the tenant's scope; of one snapshot, unless nobody else changes anything.
            tenant_id: The tenant.
            findings: Where problems go.
            look_again: Whether a content is still there, asked before its file is called missing or altered.
            with_index: Whether there is an index to examine.
        """
        log = await LedgerExamination(self._provider, tenant_id, findings).run(transaction)
        contents = ContentExamination(self._store, self._keys, tenant_id, findings, look_again)
        count = await contents.run(transaction)
        index = IndexExamination(self._keys, tenant_id, findings)
        if with_index:
            await index.run(transaction)
        return Examined(
            log.id,
            log.size,
            log.checkpoint,
            count,
            log.tiles_only,
            frozenset(index.damaged),
            index.statistics_are_wrong,
        )

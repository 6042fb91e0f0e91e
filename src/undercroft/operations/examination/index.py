"""Examines a tenant's index: what is said to be indexed is, whole and readable, and is counted right."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.protocol import KeyMissingError
from undercroft.kit.database import Transaction
from undercroft.operations.examination.findings import MOST_TO_MEND, Fault, Findings
from undercroft.operations.examination.repository import ExaminationRepository
from undercroft.retrieval.passages import PassagePlace, open_passage
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.service import KeyRing

_PAGE: Final = 500


class IndexExamination:
    """Examines one tenant's index.

    Args:
        keys: Opens its keys.
        tenant_id: Whose it is.
        findings: Where problems go.
    """

    def __init__(self, keys: KeyRing, tenant_id: UUID, findings: Findings) -> None:
        self._keys = keys
        self._tenant_id = tenant_id
        self._findings = findings
        self._repository = ExaminationRepository()
        self.damaged: set[UUID] = set()
        """Contents to index again; of very many, the first."""
        self.statistics_are_wrong = False

    async def run(self, transaction: Transaction) -> None:
        """Open every passage and count every word."""
        await self._find_incomplete(transaction)
        await self._find_superseded(transaction)
        last = 0
        while page := await self._repository.list_chunks(transaction, last, _PAGE):
            for run in _runs(page):
                await self._open(run)
            last = page[-1]["id"]
        corpus = await self._repository.find_wrong_corpus(transaction)
        if corpus is not None:
            self.statistics_are_wrong = True
            self._tell(
                Fault.STATISTICS_WRONG,
                "corpus",
                f"counts {corpus['kept']} passages or other words than its {corpus['derived']} have",
            )
        wrong = await self._repository.count_wrong_terms(transaction)
        if wrong:
            self.statistics_are_wrong = True
            self._tell(Fault.STATISTICS_WRONG, "vocabulary", f"counts {wrong} words wrongly")

    async def _find_incomplete(self, transaction: Transaction) -> None:
        last = UUID(int=0)
        while page := await self._repository.list_unindexed_blobs(transaction, last, _PAGE):
            for row in page:
                count = row["passages"]
                what = f"only some of its passages, {count}" if count else "no passage"
                self._tell_damaged(row["id"], f"is said to be indexed and has {what}")
            last = page[-1]["id"]

    async def _find_superseded(self, transaction: Transaction) -> None:
        last = UUID(int=0)
        while page := await self._repository.list_superseded(transaction, last, _PAGE):
            for row in page:
                self._note(row["id"])
                self._tell(
                    Fault.INDEX_ORPHANED,
                    f"content {row['id'].hex}",
                    "has passages and is in no current version of a document",
                )
            last = page[-1]["id"]

    async def _open(self, run: Sequence[Record]) -> None:
        """Some passages of one content."""
        first = run[0]
        blob_id: UUID = first["blob_id"]
        if first["index_state"] != "indexed":
            self._note(blob_id)
            self._tell(
                Fault.INDEX_ORPHANED,
                f"content {blob_id.hex}",
                f"has passages and is said to be {first['index_state']}",
            )
        if not all(row["is_embedded"] for row in run):
            self._tell_damaged(blob_id, "has passages without a vector")
        try:
            key = await self._keys.open(first)
        except (DecryptionError, KeyDestroyedError, KeyMissingError):
            # Told of the key.
            return
        unreadable = await asyncio.to_thread(_find_unreadable, key.material, run)
        if unreadable is not None:
            self._tell_damaged(blob_id, f"has a passage that does not open, number {unreadable}")

    def _tell_damaged(self, blob_id: UUID, message: str) -> None:
        self._note(blob_id)
        self._tell(Fault.INDEX_INCOMPLETE, f"content {blob_id.hex}", message)

    def _note(self, blob_id: UUID) -> None:
        if len(self.damaged) < MOST_TO_MEND:
            self.damaged.add(blob_id)

    def _tell(self, fault: Fault, subject: str, message: str) -> None:
        self._findings.add(fault, self._tenant_id, subject, message)


def _runs(page: Sequence[Record]) -> list[list[Record]]:
    """Passages that follow each other and are of one content."""
    runs: list[list[Record]] = []
    for row in page:
        if not runs or runs[-1][0]["blob_id"] != row["blob_id"]:
            runs.append([])
        runs[-1].append(row)
    return runs


def _find_unreadable(key: bytes, run: Sequence[Record]) -> int | None:
    for row in run:
        place = PassagePlace(row["key_tenant_id"], row["blob_id"], row["ordinal"])
        try:
            open_passage(key, place, row["sealed_text"])
        except DecryptionError:
            return int(row["ordinal"])
    return None

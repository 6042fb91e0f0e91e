"""Examines every tenant while the service runs, and the blob store for files that nobody keeps."""

from dataclasses import dataclass, field
from uuid import UUID

from undercroft.identity.tenants import each_tenant
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, set_scope
from undercroft.ledger.models import LogScope
from undercroft.operations.examination.examiner import Examined, Examiner
from undercroft.operations.examination.findings import MOST_TO_MEND, Fault, Findings
from undercroft.operations.examination.repository import ExaminationRepository
from undercroft.operations.progress import Progress
from undercroft.vault.blobs.protocol import BlobStore, KeptFile
from undercroft.vault.orphans import ORPHANED_AFTER


@dataclass(slots=True)
class Examination:
    """What was examined, and what of it can be derived again.

    Attributes:
        orphans: Files that no content has; of very many, the first.
    """

    tenants: int = 0
    contents: int = 0
    entries: int = 0
    files: int = 0
    to_mend: dict[UUID, Examined] = field(default_factory=dict[UUID, Examined])
    orphans: list[KeptFile] = field(default_factory=list[KeptFile])


class Fsck:
    """Examines a service's database and blobs.

    Args:
        database: At least two connections: one holds a snapshot. No statement of it may be cut short.
        store: Where the blobs are.
        examiner: Examines a tenant.
        clock: Tells how old a file is.
        progress: Told what is done.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        examiner: Examiner,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._database = database
        self._store = store
        self._examiner = examiner
        self._clock = clock
        self._progress = progress
        self._repository = ExaminationRepository()

    async def run(self, findings: Findings) -> Examination:
        """Examine everything."""
        examination = Examination()
        async with self._database.snapshot() as snapshot:
            tenants = [tenant_id async for tenant_id in each_tenant(snapshot)]
        for tenant_id in tenants:
            # A snapshot for each: vacuum waits for the oldest there is.
            async with self._database.snapshot() as snapshot:
                await set_scope(snapshot, LogScope(tenant_id))
                examined = await self._examiner.examine(
                    snapshot,
                    tenant_id,
                    findings,
                    look_again=self._has_content,
                    with_index=True,
                )
            self._note(examination, tenant_id, examined)
            self._progress(
                f"tenant {tenant_id.hex}: {examined.contents} contents, {examined.size} ledger entries"
            )
        await self._find_orphans(findings, examination)
        return examination

    def _note(self, examination: Examination, tenant_id: UUID, examined: Examined) -> None:
        examination.tenants += 1
        examination.contents += examined.contents
        examination.entries += examined.size
        if examined.tiles_only or examined.to_index or examined.statistics_are_wrong:
            examination.to_mend[tenant_id] = examined

    async def _find_orphans(self, findings: Findings, examination: Examination) -> None:
        oldest = self._clock.now() - ORPHANED_AFTER
        async for kept in self._store.list_files():
            examination.files += 1
            # A younger file may be that of an upload whose transaction has yet to commit.
            if kept.modified_at >= oldest or await self.is_kept(kept):
                continue
            findings.add(
                Fault.FILE_ORPHANED,
                kept.tenant_id,
                f"file {kept.name.hex()}",
                f"of {kept.byte_size:,} bytes belongs to no content",
            )
            if len(examination.orphans) < MOST_TO_MEND:
                examination.orphans.append(kept)

    async def is_kept(self, kept: KeptFile) -> bool:
        """Whether a content has this file."""
        async with self._database.transaction(LogScope(kept.tenant_id)) as transaction:
            return await self._repository.has_stored_name(transaction, kept.name)

    async def _has_content(self, tenant_id: UUID, blob_id: UUID) -> bool:
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            return await self._repository.blob_exists(transaction, blob_id)

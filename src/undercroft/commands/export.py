"""``undercroft export``: all that a tenant keeps, as plain files that prove themselves."""

from pathlib import Path

from undercroft.commands.databases import open_any_database, unhurried_pool
from undercroft.identity.service import find_tenant
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.operations.exports.export import Export, ExportSummary
from undercroft.operations.progress import Progress
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing


async def export_tenant(
    settings: Settings, tenant: str, target: Path, progress: Progress
) -> ExportSummary:
    """Export a tenant, also while the service runs."""
    clock = SystemClock()
    ids = IdSource(clock)
    async with (
        open_any_database(settings) as url,
        unhurried_pool(settings, url) as database,
        open_key_provider(settings, database) as provider,
    ):
        log_keys = LogKeys(database, provider, settings.ledger_origin)
        sequencer = Sequencer(database, log_keys)
        export = Export(
            database,
            open_blob_store(settings),
            KeyRing(provider, ids),
            Ledger(database, ids, clock),
            sequencer,
            LedgerReader(database, log_keys, sequencer, clock),
            clock,
            progress,
        )
        return await export.write(await find_tenant(database, tenant), tenant, target)

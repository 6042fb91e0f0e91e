"""``undercroft fsck``: examines everything that is kept."""

import json
from collections.abc import Callable
from contextlib import AsyncExitStack

from undercroft.commands.databases import find_owner_url, open_any_database, unhurried_pool
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.operations.examination.examiner import Examiner
from undercroft.operations.examination.findings import Findings
from undercroft.operations.examination.fsck import Examination, Fsck
from undercroft.operations.progress import Progress
from undercroft.operations.repairs.repair import Repair
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing


async def fsck(
    settings: Settings,
    write: Callable[[str], None],
    progress: Progress,
    *,
    as_json: bool,
    repair: bool,
) -> bool:
    """Examine everything; whether nothing is wrong.

    Args:
        settings: The service's settings.
        write: Takes the report, a line for each finding and a summary.
        progress: Told what is done.
        as_json: Whether each line is a JSON object.
        repair: Whether to mend what can be derived again.
    """
    findings = Findings(lambda found: write(found.to_json() if as_json else found.to_text()))
    clock = SystemClock()
    ids = IdSource(clock)
    async with (
        open_any_database(settings) as url,
        unhurried_pool(settings, url) as database,
        open_key_provider(settings, database) as provider,
    ):
        store = open_blob_store(settings)
        examiner = Examiner(store, provider, KeyRing(provider, ids))
        examine = Fsck(database, store, examiner, clock, progress)
        examination = await examine.run(findings)
        if repair and findings.total:
            async with AsyncExitStack() as stack:
                owner_url = await find_owner_url(settings)
                owner = (
                    None
                    if owner_url is None
                    else await stack.enter_async_context(unhurried_pool(settings, owner_url))
                )
                index = IndexService(JobQueue(ids))
                await Repair(database, owner, store, index, examine, progress).run(examination)
    write(_summary(examination, findings, as_json=as_json))
    return findings.total == 0


def _summary(examination: Examination, findings: Findings, *, as_json: bool) -> str:
    examined = {
        "tenants": examination.tenants,
        "contents": examination.contents,
        "ledger_entries": examination.entries,
        "files": examination.files,
    }
    if as_json:
        return json.dumps({**examined, "good": not findings.total, "findings": findings.counts})
    counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in examined.items())
    if not findings.total:
        return f"Nothing is wrong: {counted}."
    kinds = ", ".join(f"{fault} {count}" for fault, count in sorted(findings.counts.items()))
    return f"{findings.total} findings in {counted}: {kinds}."

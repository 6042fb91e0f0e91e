"""``undercroft fsck``: examines everything that is kept."""

import json
from collections.abc import Callable

from undercroft.commands.backups import open_existing_provider
from undercroft.commands.databases import open_any_database, unhurried_pool
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.operations.examination.examiner import Examiner
from undercroft.operations.examination.findings import Findings
from undercroft.operations.examination.fsck import Examination, Fsck, Progress
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys.service import KeyRing


async def fsck(
    settings: Settings, write: Callable[[str], None], progress: Progress, *, as_json: bool
) -> bool:
    """Examine everything; whether nothing is wrong.

    Args:
        settings: The service's settings.
        write: Takes the report, a line for each finding and a summary.
        progress: Told what is done.
        as_json: Whether each line is a JSON object.
    """
    findings = Findings(lambda found: write(found.to_json() if as_json else found.to_text()))
    clock = SystemClock()
    async with (
        open_any_database(settings) as url,
        unhurried_pool(settings, url) as database,
    ):
        provider = await open_existing_provider(settings)
        store = LocalBlobStore(settings.blobs_dir)
        examiner = Examiner(store, provider, KeyRing(provider, IdSource(clock)))
        examination = await Fsck(database, store, examiner, clock, progress).run(findings)
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

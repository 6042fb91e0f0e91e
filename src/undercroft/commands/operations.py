"""The commands by which an operator keeps a service's data safe. Each imports what it runs, as in ``cli``."""

from pathlib import Path
from typing import Annotated

import typer

from undercroft.commands.running import DataDir, run, set_up
from undercroft.kit.settings import Settings

operations = typer.Typer()


@operations.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A tar file to write (.tar), or a folder.")],
    data_dir: DataDir = None,
) -> None:
    """Back everything up but the key that opens it, also while the service runs."""
    from undercroft.commands.backups import back_up
    from undercroft.operations.backups.backup import BackupSummary

    async def work(settings: Settings) -> BackupSummary:
        return await back_up(settings, to, _tell_progress)

    made = run(work, set_up(data_dir=data_dir))
    typer.echo(
        f"Backed up {made.tenants} tenants: {made.row_bytes:,} bytes of rows, {made.blobs} blobs of "
        f"{made.blob_bytes:,} bytes. The key that opens it is not in it: keep a copy of the key file elsewhere, "
        "or the key in KMS."
    )
    if made.erased:
        typer.echo(f"{made.erased} contents were erased meanwhile and are left out.")


@operations.command()
def restore(
    source: Annotated[
        Path, typer.Argument(metavar="FROM", help="A backup: a tar file or a folder.", exists=True)
    ],
    data_dir: DataDir = None,
) -> None:
    """Restore a backup into an empty installation, and prove it: ledgers, keys, every content."""
    from undercroft.commands.backups import restore as restore_backup
    from undercroft.operations.backups.restore import RestoreSummary

    async def work(settings: Settings) -> RestoreSummary:
        return await restore_backup(settings, source, _tell_progress)

    made = run(work, set_up(data_dir=data_dir))
    typer.echo(
        f"Restored {made.tenants} tenants and {made.blobs} blobs. Proved: {made.entries} ledger entries up to their "
        f"signed checkpoints, and the SHA-256 of every content. {made.queued} contents wait to be indexed again."
    )
    if made.erased:
        typer.echo(f"{made.erased} documents were being erased during the backup: left out.")


@operations.command()
def fsck(
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON object a line instead of text.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Mend what can be derived again; delete orphaned files."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Examine every key, content, passage and ledger entry, also while the service runs."""
    from undercroft.commands.fsck import fsck as examine

    async def work(settings: Settings) -> bool:
        return await examine(settings, typer.echo, _tell_progress, as_json=as_json, repair=repair)

    raise typer.Exit(0 if run(work, set_up(data_dir=data_dir)) else 1)


@operations.command()
def export(
    to: Annotated[Path, typer.Argument(help="A tar file to write (.tar), or a folder.")],
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    data_dir: DataDir = None,
) -> None:
    """Export all that a tenant keeps as plain files, which `undercroft verify` accepts. It is put on record."""
    from undercroft.commands.export import export_tenant
    from undercroft.operations.exports.export import ExportSummary

    async def work(settings: Settings) -> ExportSummary:
        return await export_tenant(settings, tenant, to, _tell_progress)

    made = run(work, set_up(data_dir=data_dir))
    typer.echo(
        f"Exported {made.versions} versions of documents, records and schemas, {made.proved} of them proved, and "
        f"a log of {made.entries} entries. Nothing in it is encrypted. Verify it with:"
    )
    keys = " ".join(f"--key '{key}'" for key in made.verifier_keys)
    typer.echo(f"undercroft verify {to} {keys}")


@operations.command(name="fill-qdrant")
def fill_qdrant(data_dir: DataDir = None) -> None:
    """Compare Qdrant with PostgreSQL and mend it, also while the service runs. Workers do it daily."""
    from undercroft.commands.qdrant import fill_qdrant as fill

    mended = run(fill, set_up(data_dir=data_dir))
    typer.echo(
        f"Qdrant has what PostgreSQL has; {mended} passages were brought there or taken away."
    )


@operations.command()
def scrub(data_dir: DataDir = None) -> None:
    """Rewrite the embedded server's files so that none holds what was erased. Stop the service first."""
    from undercroft.commands.scrub import scrub as scrub_files

    async def work(settings: Settings) -> None:
        await scrub_files(settings, _tell_progress)

    run(work, set_up(data_dir=data_dir))
    typer.echo(
        "What was erased is in no file of the database. Older copies of its files still have it."
    )


def _tell_progress(done: str) -> None:
    typer.echo(done, err=True)

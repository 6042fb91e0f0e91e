"""The command line.

Each command imports what it runs: all parts of the program together take seconds of a processor.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn
from uuid import UUID

import typer

from undercroft import __version__
from undercroft.commands.operations import operations
from undercroft.commands.running import DataDir, set_up
from undercroft.commands.running import run as run_command
from undercroft.identity.models import Role
from undercroft.kit.crypto.providers.aws_signature import AwsCredentialsError
from undercroft.kit.crypto.providers.key_file import KeyFileError
from undercroft.kit.crypto.providers.kms_errors import KmsError
from undercroft.kit.errors import InvalidRequestError, NotFoundError, UndercroftError
from undercroft.kit.ids import parse_id, render_id
from undercroft.kit.migrations import MigrationError
from undercroft.kit.postgres.errors import PostgresStartError
from undercroft.kit.preflight import PreflightError
from undercroft.kit.settings import Settings, SettingsError
from undercroft.ledger.verification.notes import KeyFormatError
from undercroft.ledger.verification.verify import VerificationUsageError
from undercroft.operations.errors import OperationError

# A verification that could not be made is neither good nor bad.
_UNUSABLE: Final = (KeyFormatError, VerificationUsageError)
_UNUSABLE_STATUS: Final = 2

# What a person can mend; anything else is a defect and shows its traceback.
_EXPECTED: Final = (
    SettingsError,
    PreflightError,
    KeyFileError,
    AwsCredentialsError,
    KmsError,
    PostgresStartError,
    MigrationError,
    OperationError,
    UndercroftError,
    OSError,
)

application = typer.Typer(
    name="undercroft",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
jobs = typer.Typer(help="Background jobs that were given up.", no_args_is_help=True)
application.add_typer(keys, name="keys")
application.add_typer(jobs, name="jobs")
ledger = typer.Typer(help="Logs of what was done.", no_args_is_help=True)
application.add_typer(ledger, name="ledger")
encryption = typer.Typer(help="Keys of what is kept.", no_args_is_help=True)
application.add_typer(encryption, name="encryption")
application.add_typer(operations)

WithParent = Annotated[
    bool, typer.Option("--with-parent", hidden=True, help="Stop when standard input ends.")
]


def main() -> NoReturn:
    """Run the command that the arguments name."""
    try:
        application()
    except _UNUSABLE as error:
        sys.stderr.write(f"undercroft: {error}\n")
        raise SystemExit(_UNUSABLE_STATUS) from None
    except _EXPECTED as error:
        sys.stderr.write(f"undercroft: {error}\n")
        raise SystemExit(1) from None
    raise SystemExit(0)


def _tell_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"undercroft {__version__}")
        raise typer.Exit


@application.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_tell_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Ask your own documents: streamed, cited, provable."""


@application.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for a free one.")] = None,
    data_dir: DataDir = None,
    with_parent: WithParent = False,
) -> None:
    """Run the API, a worker and the embedded database."""
    from undercroft.commands.serve import serve as run_service

    async def run(settings: Settings) -> None:
        await run_service(settings, belongs_to_parent=with_parent)

    run_command(run, set_up(host=host, port=port, data_dir=data_dir))


@application.command()
def worker(data_dir: DataDir = None, with_parent: WithParent = False) -> None:
    """Run background jobs for a service that runs on the same database."""
    from undercroft.commands.worker import run_worker

    async def run(settings: Settings) -> None:
        await run_worker(settings, belongs_to_parent=with_parent)

    run_command(run, set_up(data_dir=data_dir))


@application.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to this program's schema, as its owner."""
    from undercroft.commands.migrate import migrate_database

    applied = run_command(migrate_database, set_up(data_dir=data_dir))
    typer.echo(f"Applied: {', '.join(applied)}." if applied else "Nothing to apply.")


@application.command()
def demo(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; another one if it is taken.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Start a service with sample documents and ask it a question."""
    from undercroft.commands.demo import run_demo

    run_command(run_demo, set_up(port=port, data_dir=data_dir))


@application.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.", exists=True)],
    key: Annotated[str, typer.Option(envvar="UNDERCROFT_API_KEY", help="An API key.")],
    url: Annotated[
        str, typer.Option(envvar="UNDERCROFT_API_URL", help="Address of the service.")
    ] = "http://127.0.0.1:8080",
    collection: Annotated[
        str, typer.Option(help="Name of the vector store; created when missing.")
    ] = "Documents",
) -> None:
    """Put files and folders into a vector store of a running service."""
    from rich.console import Console

    from undercroft.commands.client import ServiceClient
    from undercroft.commands.ingest import ingest_paths

    async def run(_: Settings) -> None:
        async with ServiceClient(url, key) as client:
            store_id = await ingest_paths(client, collection, paths, Console(stderr=True))
        typer.echo(store_id)

    run_command(run, set_up())


@application.command()
def models(
    models_dir: Annotated[Path | None, typer.Option(help="Folder of prepared models.")] = None,
) -> None:
    """Prepare the built-in embedding model."""
    from undercroft.retrieval.minilm.prepare import prepare_minilm

    settings = set_up(models_dir=models_dir)
    prepare_minilm(settings.models_dir, lambda text: typer.echo(text, err=True))


@application.command("eval")
def evaluate(
    beir: Annotated[Path, typer.Option(help="Folder of a test collection in BEIR's layout.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object instead of a table.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Measure how well and how fast search answers a test collection, in a database of its own."""
    from undercroft.commands.evaluate import evaluate_beir

    async def measure(settings: Settings) -> str:
        return await evaluate_beir(settings, beir, as_json=as_json)

    typer.echo(run_command(measure, set_up(data_dir=data_dir)))


@application.command()
def verify(
    path: Annotated[
        Path,
        typer.Argument(
            help="A mirrored log, an export (.tar or folder), a .tlog-proof or a receipt."
        ),
    ],
    key: Annotated[
        list[str], typer.Option(help="The log's verifier key; again for each one it has had.")
    ],
    since: Annotated[
        Path | None,
        typer.Option(help="An earlier checkpoint of the log, or the folder of an earlier mirror."),
    ] = None,
    entry: Annotated[
        Path | None, typer.Option(help="For a proof: the entry that it is of.")
    ] = None,
    content: Annotated[
        Path | None, typer.Option(help="For a receipt: the file that it is of.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object instead of text.")
    ] = False,
) -> None:
    """Check a log, an export or one entry, offline, with nothing but the public key.

    Ends with 0 when all is good, 1 when anything is wrong, 2 when it could not be checked.
    """
    from undercroft.commands.verify import verify as verify_files

    good, report = verify_files(path, key, since, entry, content, as_json=as_json)
    typer.echo(report)
    raise typer.Exit(0 if good else 1)


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="Name of the tenant; created when missing.")],
    user: Annotated[str, typer.Option(help="E-mail address of the user; created when missing.")],
    role: Annotated[
        Role | None, typer.Option(help="The user's role. A new user is a member.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=3650, help="Days until the key expires; never if unset."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make an API key and print it. It is shown this once."""
    from undercroft.commands.keys import create_key

    lifetime = None if days is None else timedelta(days=days)

    async def create(settings: Settings) -> str:
        return await create_key(settings, tenant, user, role, lifetime)

    typer.echo(run_command(create, set_up(data_dir=data_dir)))


@keys.command("revoke")
def keys_revoke(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    prefix: Annotated[str, typer.Option(help="The key's first part, such as uk_ab12cd34.")],
    data_dir: DataDir = None,
) -> None:
    """Revoke an API key, from the next request on."""
    from undercroft.commands.keys import revoke_key

    async def revoke(settings: Settings) -> None:
        await revoke_key(settings, tenant, prefix)

    run_command(revoke, set_up(data_dir=data_dir))
    typer.echo(f"Revoked {prefix}: the next request with it is refused.")


@jobs.command("dead")
def jobs_dead(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most jobs to list.")] = 100,
    data_dir: DataDir = None,
) -> None:
    """List the jobs that were given up."""
    from undercroft.commands.jobs import list_dead_jobs
    from undercroft.jobs.service import JOB_PREFIX

    async def show(settings: Settings) -> None:
        found = await list_dead_jobs(settings, limit)
        if not found:
            typer.echo("No job was given up.", err=True)
        for job in found:
            reason = "" if job.failure is None else f"{job.failure.code}: {job.failure.message}"
            shown = render_id(JOB_PREFIX, job.id)
            typer.echo(f"{shown}  {job.kind}  attempts {job.attempts}  {reason}")

    run_command(show, set_up(data_dir=data_dir))


@jobs.command("retry")
def jobs_retry(job_id: str, data_dir: DataDir = None) -> None:
    """Queue a job again that was given up, by its id: job_..."""
    from undercroft.commands.jobs import retry_job
    from undercroft.jobs.service import JOB_PREFIX

    wanted = parse_id(JOB_PREFIX, job_id)
    if wanted is None:
        raise NotFoundError("dead job", job_id)

    async def retry(settings: Settings) -> None:
        await retry_job(settings, wanted)

    run_command(retry, set_up(data_dir=data_dir))
    typer.echo(f"Queued {job_id} again.")


@ledger.command("rotate-key")
def ledger_rotate_key(
    tenant: Annotated[str | None, typer.Option(help="Name of the tenant.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="The logs of all tenants.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Give a log another signing key and print its verifier key. The one before signs along until the next rotation."""
    from undercroft.commands.ledger import rotate_signing_keys

    if everyone is (tenant is not None):
        raise InvalidRequestError("Say --tenant NAME or --all.")

    async def rotate(settings: Settings) -> list[str]:
        return await rotate_signing_keys(settings, tenant)

    for key in run_command(rotate, set_up(data_dir=data_dir)):
        typer.echo(key)


@encryption.command("rotate-tenant")
def encryption_rotate_tenant(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")], data_dir: DataDir = None
) -> None:
    """Give a tenant another key and destroy the one before. Run it again if it was interrupted."""
    from undercroft.commands.encryption import rotate_tenant

    async def rotate(settings: Settings) -> frozenset[UUID]:
        return await rotate_tenant(settings, tenant, _echo_progress)

    damaged = run_command(rotate, set_up(data_dir=data_dir))
    for key_id in sorted(damaged):
        typer.echo(f"Damaged, and left as it is: data key {key_id}", err=True)
    if damaged:
        raise typer.Exit(1)
    typer.echo(f"The tenant {tenant} has another key; the one before is destroyed.")


@encryption.command("rotate-provider")
def encryption_rotate_provider(data_dir: DataDir = None) -> None:
    """Wrap every tenant's keys with the provider's current key: a fresh one in a key file, kms_key_id in KMS."""
    from undercroft.commands.encryption import rotate_provider

    async def rotate(settings: Settings) -> list[str] | None:
        return await rotate_provider(settings, _echo_progress)

    settings = set_up(data_dir=data_dir)
    damaged = run_command(rotate, settings)
    if damaged is None:
        typer.echo(
            "Nothing to do: all is wrapped with this key. To rotate, set kms_key_id to another one and put this one "
            "into kms_other_key_ids.",
            err=True,
        )
        return
    for name in damaged:
        typer.echo(f"Damaged, and left as it is: {name}", err=True)
    if damaged:
        raise typer.Exit(1)
    if settings.key_provider == "file":
        typer.echo(
            f"Every tenant's keys are wrapped with a fresh key. Keep a new copy of {settings.key_path}."
        )
    else:
        typer.echo(f"Every tenant's keys are wrapped with {settings.kms_key_id}.")


@encryption.command("destroy-tenant")
def encryption_destroy_tenant(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    forever: Annotated[
        bool,
        typer.Option("--forever", help="Yes: nobody can read it again, not even from a backup."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Destroy a tenant's keys: everything that it keeps is unreadable from then on. Run it again if interrupted."""
    from undercroft.commands.encryption import destroy_tenant

    if not forever:
        raise InvalidRequestError("This cannot be undone. Say --forever if that is what you want.")

    async def destroy(settings: Settings) -> None:
        await destroy_tenant(settings, tenant, _echo_progress)

    run_command(destroy, set_up(data_dir=data_dir))
    typer.echo(f"The keys of the tenant {tenant} are destroyed: nobody can read what it kept.")


def _echo_progress(done: int, total: int) -> None:
    typer.echo(f"{done} of {total}", err=True)

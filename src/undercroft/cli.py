"""The command line.

Each command imports what it runs: all parts of the program together take seconds of a processor.
"""

import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from undercroft import __version__
from undercroft.commands.administration import encryption, jobs, keys, ledger, users
from undercroft.commands.embeddings import embeddings
from undercroft.commands.operations import operations
from undercroft.commands.running import DataDir, set_up
from undercroft.commands.running import run as run_command
from undercroft.kit.crypto.providers.aws_signature import AwsCredentialsError
from undercroft.kit.crypto.providers.key_file import KeyFileError
from undercroft.kit.crypto.providers.kms_errors import KmsError
from undercroft.kit.errors import UndercroftError
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
application.add_typer(keys, name="keys")
application.add_typer(users, name="users")
application.add_typer(jobs, name="jobs")
application.add_typer(ledger, name="ledger")
application.add_typer(encryption, name="encryption")
application.add_typer(embeddings, name="embeddings")
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
    from undercroft.commands.worker.command import run_worker

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
    beir: Annotated[
        Path | None, typer.Option(help="Folder of a test collection in BEIR's layout.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="File of questions with what is right, a JSON object a line."),
    ] = None,
    documents: Annotated[Path | None, typer.Option(help="Folder that those ask about.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model that answers them; unset is the default model.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="What --json wrote at an earlier run, to compare with.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="File to write a report with plots to.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object instead of a table.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Measure how well and how fast search and answers are, in a database that is thrown away."""
    from undercroft.commands.evaluate import EvaluationInput, ReportOptions
    from undercroft.commands.evaluate import evaluate as run_evaluation

    inputs = EvaluationInput(beir, questions, documents)
    options = ReportOptions(as_json, html, against, model)

    async def measure(settings: Settings) -> str:
        return await run_evaluation(settings, inputs, options)

    typer.echo(run_command(measure, set_up(data_dir=data_dir)))


@application.command()
def verify(
    path: Annotated[
        Path,
        typer.Argument(
            help="A mirrored log, an export (.tar or folder), a .tlog-proof, a receipt or a provenance."
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

"""The commands by which an operator looks after keys, jobs and logs. Each imports what it runs, as in ``cli``."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from undercroft.commands.running import DataDir, run, set_up
from undercroft.identity.models import Role
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import parse_id, render_id
from undercroft.kit.settings import Settings
from undercroft.ledger.models import USER_PREFIX

keys = typer.Typer(help="API keys.", no_args_is_help=True)
users = typer.Typer(help="Users of a tenant.", no_args_is_help=True)
jobs = typer.Typer(help="Background jobs that were given up.", no_args_is_help=True)
ledger = typer.Typer(help="Logs of what was done.", no_args_is_help=True)
encryption = typer.Typer(help="Keys of what is kept.", no_args_is_help=True)


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

    typer.echo(run(create, set_up(data_dir=data_dir)))


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

    run(revoke, set_up(data_dir=data_dir))
    typer.echo(f"Revoked {prefix}: the next request with it is refused.")


@keys.command("list")
def keys_list(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    user: Annotated[
        str | None, typer.Option(help="Only this user's: an e-mail address, or user_...")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """List API keys by their visible part, with whose they are. No secret is kept, so none is shown."""
    from undercroft.commands.users import list_keys

    async def show(settings: Settings) -> None:
        for held in await list_keys(settings, tenant, user):
            key = held.key
            scopes = "all" if key.scopes is None else ",".join(sorted(key.scopes))
            ended = next(
                (
                    f"{word} {moment:%Y-%m-%d}"
                    for word, moment in (("revoked", key.revoked_at), ("expires", key.expires_at))
                    if moment is not None
                ),
                "never expires",
            )
            typer.echo(f"{key.prefix}  {held.holder}  {scopes}  {ended}")

    run(show, set_up(data_dir=data_dir))


@users.command("list")
def users_list(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")], data_dir: DataDir = None
) -> None:
    """List a tenant's users."""
    from undercroft.commands.users import list_users

    async def show(settings: Settings) -> None:
        for member in await list_users(settings, tenant):
            state = "" if member.suspended_at is None else "  suspended"
            shown = render_id(USER_PREFIX, member.id)
            typer.echo(
                f"{shown}  {member.email or member.name}  {member.kind}  {member.role}{state}"
            )

    run(show, set_up(data_dir=data_dir))


@users.command("suspend")
def users_suspend(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    user: Annotated[str, typer.Option(help="An e-mail address, or user_...")],
    data_dir: DataDir = None,
) -> None:
    """Let a user do nothing from now on."""
    from undercroft.commands.users import suspend_user

    async def suspend(settings: Settings) -> None:
        await suspend_user(settings, tenant, user)

    run(suspend, set_up(data_dir=data_dir))
    typer.echo(f"Suspended {user}: the next request is refused.")


@users.command("reinstate")
def users_reinstate(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    user: Annotated[str, typer.Option(help="An e-mail address, or user_...")],
    data_dir: DataDir = None,
) -> None:
    """Let a suspended user act again."""
    from undercroft.commands.users import reinstate_user

    async def reinstate(settings: Settings) -> None:
        await reinstate_user(settings, tenant, user)

    run(reinstate, set_up(data_dir=data_dir))
    typer.echo(f"Reinstated {user}.")


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

    run(show, set_up(data_dir=data_dir))


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

    run(retry, set_up(data_dir=data_dir))
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

    for key in run(rotate, set_up(data_dir=data_dir)):
        typer.echo(key)


@encryption.command("rotate-tenant")
def encryption_rotate_tenant(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")], data_dir: DataDir = None
) -> None:
    """Give a tenant another key and destroy the one before. Run it again if it was interrupted."""
    from undercroft.commands.encryption import rotate_tenant

    async def rotate(settings: Settings) -> frozenset[UUID]:
        return await rotate_tenant(settings, tenant, _echo_progress)

    damaged = run(rotate, set_up(data_dir=data_dir))
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
    damaged = run(rotate, settings)
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

    run(destroy, set_up(data_dir=data_dir))
    typer.echo(f"The keys of the tenant {tenant} are destroyed: nobody can read what it kept.")


def _echo_progress(done: int, total: int) -> None:
    typer.echo(f"{done} of {total}", err=True)

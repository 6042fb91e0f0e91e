"""The commands by which an operator moves to another embedding model. Each imports what it runs, as in ``cli``."""

from typing import Annotated, TypeAlias

import typer

from undercroft.commands.running import DataDir, run, set_up
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import parse_id
from undercroft.kit.settings import Settings

embeddings = typer.Typer(help="Embedding models and their indexes.", no_args_is_help=True)

ModelName: TypeAlias = Annotated[str, typer.Argument(help="Name of the embedding model.")]
OneTenant: TypeAlias = Annotated[
    str | None, typer.Option(help="Name of one tenant; unset is all of them.")
]


@embeddings.command("status")
def embeddings_status(tenant: OneTenant = None, data_dir: DataDir = None) -> None:
    """Tell which models there are, what is searched with them, and how far each has come."""
    from undercroft.commands.spaces import describe_models

    async def show(settings: Settings) -> None:
        for model, health, rebuilt, progress in await describe_models(settings, tenant):
            uses = ("default", model.is_default), ("chosen", model.is_chosen)
            words = [word for word, holds in uses if holds] or ["not searched with"]
            if model.retired_at is not None:
                words = ["retired"]
            typer.echo(f"{model.name}  {model.dimensions} dimensions  {', '.join(words)}")
            if health is not None:
                advice = "; a rebuild is worthwhile" if health.is_worn else ""
                typer.echo(
                    f"  index  {health.index_bytes:,} bytes, {health.fresh_bytes:,} if built anew{advice}"
                )
            if rebuilt is not None and rebuilt.ended_at is not None:
                typer.echo(f"  built anew by a worker on {rebuilt.ended_at:%Y-%m-%d %H:%M} UTC")
            elif rebuilt is not None and not rebuilt.is_under_way:
                typer.echo(f"  a rebuild begun on {rebuilt.begun_at:%Y-%m-%d %H:%M} UTC broke off")
            elif rebuilt is not None:
                typer.echo(
                    f"  being built anew: {rebuilt.phase}, {rebuilt.done} of {rebuilt.total}"
                )
            for it in progress:
                share = f"{it.embedded} of {it.passages} passages"
                typer.echo(f"  tenant {it.tenant_id.hex}  {share}  {it.state}")

    run(show, set_up(data_dir=data_dir))


@embeddings.command("backfill")
def embeddings_backfill(
    model: ModelName, tenant: OneTenant = None, data_dir: DataDir = None
) -> None:
    """Have the workers embed by a model what it has not embedded yet; what was paused goes on."""
    from undercroft.commands.spaces import begin_backfill

    async def begin(settings: Settings) -> int:
        return await begin_backfill(settings, model, tenant)

    count = run(begin, set_up(data_dir=data_dir))
    typer.echo(f"The workers embed the passages of {count} tenants by {model}. See `status`.")


@embeddings.command("pause")
def embeddings_pause(model: ModelName, tenant: OneTenant = None, data_dir: DataDir = None) -> None:
    """Let the workers rest after the batches that they embed now. `backfill` goes on."""
    from undercroft.commands.spaces import pause_backfill

    async def pause(settings: Settings) -> int:
        return await pause_backfill(settings, model, tenant)

    count = run(pause, set_up(data_dir=data_dir))
    typer.echo(f"Paused for {count} tenants.")


@embeddings.command("switch")
def embeddings_switch(
    model: ModelName,
    tenant: OneTenant = None,
    collection: Annotated[
        str | None, typer.Option(help="One vector store of that tenant: vs_...")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Search with a model from the next search on, here or back: all, a tenant, or one of its vector stores."""
    from undercroft.commands.spaces import switch
    from undercroft.retrieval.collections.models import COLLECTION_PREFIX

    if collection is not None and tenant is None:
        raise InvalidRequestError("Say whose vector store it is: --tenant NAME.")
    collection_id = None if collection is None else parse_id(COLLECTION_PREFIX, collection)
    if collection is not None and collection_id is None:
        raise NotFoundError("vector store", collection)

    async def change(settings: Settings) -> None:
        await switch(settings, model, tenant, collection_id)

    run(change, set_up(data_dir=data_dir))
    typer.echo(f"The next search is with {model}.")


@embeddings.command("retire")
def embeddings_retire(model: ModelName, data_dir: DataDir = None) -> None:
    """Delete a model's vectors and its index, once nothing is searched with it. Run it again if it was interrupted."""
    from undercroft.commands.spaces import retire

    async def end(settings: Settings) -> None:
        await retire(settings, model, _tell)

    run(end, set_up(data_dir=data_dir))
    typer.echo(f"{model} is retired: its vectors and its index are gone.")


@embeddings.command("rebuild")
def embeddings_rebuild(
    model: ModelName,
    if_worn: Annotated[
        bool,
        typer.Option("--if-worn", help="Only where a third of it is left of deleted passages."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Build a model's index anew, while searches use the one that there is. Run it again if it was interrupted."""
    from undercroft.commands.spaces import rebuild

    async def build(settings: Settings) -> bool:
        return await rebuild(settings, model, _tell, only_if_worn=if_worn)

    is_done = run(build, set_up(data_dir=data_dir))
    typer.echo(
        f"The index of {model} is built anew."
        if is_done
        else f"The index of {model} is as it should be."
    )


def _tell(phase: str, done: int, total: int) -> None:
    typer.echo(f"{phase}: {done} of {total}", err=True)

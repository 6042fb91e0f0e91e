"""How every command runs: its settings, its process, its event loop."""

import asyncio
import os
import resource
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import typer
import uvloop

from undercroft.kit.logs import configure_logging
from undercroft.kit.settings import Settings, load_settings

_Result = TypeVar("_Result")

DataDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder of the embedded database and the blobs.")
]


def set_up(**overrides: Any) -> Settings:  # noqa: ANN401 - each option's own type
    """The settings, and this process as they want it: its logs, no file that another user can read, no core file."""
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = load_settings(**given)
    configure_logging(settings.log_level, settings.log_format)
    os.umask(0o077)
    # Memory holds keys. Every process that this one starts inherits the limit, the database's too.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return settings


def run(command: Callable[[Settings], Coroutine[Any, Any, _Result]], settings: Settings) -> _Result:
    """Run a command to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(command(settings))

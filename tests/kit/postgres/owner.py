"""A program that owns an embedded server, for tests that kill it.

Prints one JSON line when it has started (or failed), stops the server when its standard input ends.
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

from undercroft.kit.clock import SystemClock
from undercroft.kit.postgres.cluster import Cluster, installed_version
from undercroft.kit.postgres.errors import PostgresStartError
from undercroft.kit.postgres.launchers import (
    DirectLauncher,
    Launcher,
    UnprivilegedUserLauncher,
    UserNamespaceLauncher,
    launcher_for,
)
from undercroft.kit.postgres.server import EmbeddedPostgres

_DEADLY = {
    "initdb": """
        case "$*" in *bin/postgres*) exec "$@";; esac
        "$@"
        for argument; do
            case "$argument" in --pgdata=*) rm "${argument#--pgdata=}/global/pg_control";; esac
        done
        kill -9 $PPID
    """,
    "launch": """
        case "$*" in *bin/postgres*) kill -9 $PPID;; esac
        exec "$@"
    """,
}


class DeadlyLauncher:
    """Kills this very process at a chosen step: before initdb has finished, or as the server is launched."""

    def __init__(self, step: str) -> None:
        self._script = _DEADLY[step]

    def settle(self, home: Path) -> Cluster:
        cluster = launcher_for(home).settle(home)
        return replace(cluster, prefix=("/bin/sh", "-c", self._script, "sh", *cluster.prefix))


def _launcher(name: str, state_folder: Path) -> Launcher | None:
    match name:
        case "direct":
            return DirectLauncher()
        case "user-namespace":
            return UserNamespaceLauncher()
        case "unprivileged-user":
            return UnprivilegedUserLauncher(state_folder)
        case "killed-during-initdb":
            return DeadlyLauncher("initdb")
        case "killed-at-launch":
            return DeadlyLauncher("launch")
        case _:
            return None


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--launcher", default="suitable")
    parser.add_argument("--state-folder", type=Path, default=Path("/nonexistent"))
    parser.add_argument("--uid", type=int)
    options = parser.parse_args()
    if options.uid is not None:
        # Python's own folder may be closed to that user: what is imported late is imported now.
        installed_version()
        await asyncio.to_thread(int)
        os.setgroups([])
        os.setgid(options.uid)
        os.setuid(options.uid)
    server = EmbeddedPostgres(
        options.data_dir,
        clock=SystemClock(),
        durable=False,
        launcher=_launcher(options.launcher, options.state_folder),
    )
    try:
        async with server as urls:
            print(json.dumps(asdict(urls)), flush=True)  # noqa: T201
            await asyncio.to_thread(sys.stdin.read)
    except PostgresStartError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())

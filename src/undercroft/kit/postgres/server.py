"""The embedded PostgreSQL server of one data folder: started, adopted, stopped."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import psutil
import structlog

from undercroft.kit.clock import Clock
from undercroft.kit.files import write_durably
from undercroft.kit.postgres.bootstrap import (
    Credentials,
    database_url,
    ensure_data_directory,
    ensure_database,
    random_password,
)
from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.configuration import write_configuration
from undercroft.kit.postgres.control import (
    PidFile,
    acquire_lock,
    clear_remains,
    find_processes,
    has_exited,
    shut_down,
)
from undercroft.kit.postgres.errors import PostgresStartError
from undercroft.kit.postgres.launchers import Launcher, launcher_for, moved_cluster
from undercroft.kit.postgres.removal import erase_cluster
from undercroft.kit.postgres.scrubbing import forget_log, rewrite_database
from undercroft.kit.postgres.sockets import make_socket_folder, remove_socket_folder

_CREDENTIALS: Final = "credentials.json"
_POLL_SECONDS: Final = 0.02
_WATCH_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 2.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """The two logins of a server, as ``postgresql://`` URLs over its unix socket.

    Attributes:
        service: Neither an owner nor above row-level security; what the service uses.
        migration: The owner of the database; for ``migrate`` alone.
    """

    service: str = field(repr=False)
    migration: str = field(repr=False)


class EmbeddedPostgres:
    """Supervises the server of one data folder; use it with ``async with``, or ``start`` and ``stop``.

    One process owns a data folder at a time. If it is killed, the server goes on, and the next owner adopts it.

    Args:
        data_dir: The service's data folder; the server's files go to ``postgres`` below it.
        clock: For deadlines.
        start_timeout: Seconds without any progress after which a start is given up. A recovery after a crash may
            take longer, as long as it advances.
        durable: False gives up safety from a crash of the machine for speed, for tests.
        launcher: How to run the server; by default what suits this user and machine.
        make_password: Source of the three logins' passwords at first use.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Clock,
        start_timeout: float = 120.0,
        durable: bool = True,
        launcher: Launcher | None = None,
        make_password: Callable[[], str] = random_password,
    ) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._start_timeout = start_timeout
        self._durable = durable
        self._launcher = launcher
        self._make_password = make_password
        self._lock: int | None = None
        self._running: _Running | None = None

    async def __aenter__(self) -> DatabaseUrls:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> DatabaseUrls:
        """Start the server, or adopt the one that a killed owner left, and wait until it answers.

        The first use creates the cluster.

        Raises:
            DataFolderInUseError: When another process owns the data folder.
            PostgresStartError: When the server cannot be started; nothing is left running then.
        """
        if self._lock is not None:
            raise RuntimeError("This server has been started already.")
        try:
            return await self._bring_up()
        except OSError as error:
            await self.stop()
            raise PostgresStartError(
                f"The data folder {self._data_dir} cannot be used: {error.strerror or error}"
                f"{f' ({error.filename})' if error.filename else ''}. It must be writable for this user; choose "
                "another with --data-dir."
            ) from error
        except BaseException:
            # Also when cancelled: a server must not outlive the supervisor that gave up on it.
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server and give the data folder up. Does nothing if it was not started."""
        await asyncio.to_thread(self._tear_down)

    async def keep_running(self) -> None:
        """Start the server again whenever it ends by itself, until cancelled. Its URLs stay the same."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            running = self._running
            if running is None or not await asyncio.to_thread(has_exited, running.process):
                continue
            _log.error("postgres_ended", data_dir=str(self._data_dir))
            try:
                await self._bring_back(running)
            except (PostgresStartError, OSError) as error:
                # Of a full disk, say. Nobody else would try again once there is room.
                _log.error("postgres_not_restarted", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _bring_back(self, running: "_Running") -> None:
        # Waited for even when cancelled, as in _bring_up.
        launching = asyncio.ensure_future(asyncio.to_thread(self._launch_again, running))
        try:
            running = await asyncio.shield(launching)
        except asyncio.CancelledError:
            await asyncio.wait([launching])
            raise
        await self._wait_until_ready(running)
        await asyncio.to_thread(write_durably, running.cluster.ready, "")

    def _launch_again(self, running: "_Running") -> "_Running":
        process = self._adopt_or_launch(running.cluster, running.socket_folder)
        self._running = replace(running, process=process)
        return self._running

    async def erase(self) -> None:
        """Stop the server and delete all of its files, for a database that was only needed for a while."""
        await asyncio.to_thread(self._tear_down, erase=True)

    async def scrub(self, progress: Callable[[str], None]) -> None:
        """Rewrite the whole database, then stop the server and forget its log: no file holds what was deleted.

        Args:
            progress: Told what is done.

        Raises:
            PostgresStartError: When the server did not end in order; nothing is lost, and it can be tried again.
        """
        running = self._running
        if running is None:
            raise RuntimeError("This server has not been started.")
        await rewrite_database(running.credentials, running.socket_folder, progress)
        await asyncio.to_thread(self._tear_down, forget=True)
        progress("the write-ahead log is empty")

    async def _bring_up(self) -> DatabaseUrls:
        # A thread cannot be cancelled: without waiting for it, a server could come up after we let go of it.
        setting_up = asyncio.ensure_future(asyncio.to_thread(self._set_up))
        try:
            running = await asyncio.shield(setting_up)
        except asyncio.CancelledError:
            await asyncio.wait([setting_up])
            raise
        await self._wait_until_ready(running)
        await ensure_database(running.credentials, running.socket_folder)
        await asyncio.to_thread(write_durably, running.cluster.ready, "")
        return _urls(running.credentials, running.socket_folder)

    def _set_up(self) -> "_Running":
        """Everything up to a running process: files and short programs, in one thread."""
        home = _home(self._data_dir)
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        self._lock = acquire_lock(home / "lock")
        cluster = (self._launcher or launcher_for(home)).settle(home)
        cluster.make_folder(cluster.log)
        credentials = Credentials.ensure(home / _CREDENTIALS, cluster.data, self._make_password)
        ensure_data_directory(
            cluster, credentials.superuser, durable=self._durable, timeout=self._start_timeout
        )
        socket_folder = make_socket_folder(cluster)
        process = self._adopt_or_launch(cluster, socket_folder)
        self._running = _Running(cluster, credentials, socket_folder, process)
        return self._running

    def _adopt_or_launch(self, cluster: Cluster, socket_folder: Path) -> psutil.Process:
        changed = write_configuration(cluster, socket_folder, durable=self._durable)
        postmaster, children = find_processes(cluster)
        if postmaster is not None:
            pid_file = PidFile.read(cluster)
            if not changed and (pid_file is None or pid_file.status != "stopping"):
                return postmaster
            shut_down(postmaster)
            _, children = find_processes(cluster)
        cluster.ready.unlink(missing_ok=True)
        clear_remains(cluster, children)
        return cluster.launch()

    async def _wait_until_ready(self, running: "_Running") -> None:
        cluster, process = running.cluster, running.process
        progress = -1
        deadline = 0.0
        while not await asyncio.to_thread(_is_ready, running):
            if await asyncio.to_thread(has_exited, process):
                raise PostgresStartError(_failure("ended while starting", cluster))
            size = await asyncio.to_thread(cluster.log_size)
            if size != progress:
                progress, deadline = size, self._clock.monotonic() + self._start_timeout
            elif self._clock.monotonic() > deadline:
                message = f"made no progress for {self._start_timeout:g} s while starting"
                raise PostgresStartError(_failure(message, cluster))
            await asyncio.sleep(_POLL_SECONDS)

    def _tear_down(self, *, erase: bool = False, forget: bool = False) -> None:
        try:
            if self._running is not None:
                self._running.cluster.ready.unlink(missing_ok=True)
                shut_down(self._running.process)
                remove_socket_folder(self._running.cluster)
                if forget:
                    forget_log(self._running.cluster)
                if erase:
                    erase_cluster(self._running.cluster, _home(self._data_dir))
        finally:
            if self._lock is not None:
                os.close(self._lock)
            self._lock = self._running = None


@dataclass(frozen=True, slots=True)
class _Running:
    cluster: Cluster
    credentials: Credentials
    socket_folder: Path
    process: psutil.Process


def running_urls(data_dir: Path) -> DatabaseUrls | None:
    """The logins of the server that runs on a data folder, or None if none is ready.

    For a second program, such as ``undercroft keys create``, beside the service that owns the folder. Reads a few
    small files and the process table (blocking, some milliseconds).

    Raises:
        PostgresStartError: When the data folder is damaged or not readable for this user.
    """
    home = _home(data_dir)
    try:
        cluster = Cluster(moved_cluster(home) or home, installation=Path())
        pid_file = PidFile.read(cluster)
        if pid_file is None or pid_file.status != "ready" or not cluster.ready.exists():
            return None
        postmaster, _ = find_processes(cluster)
        if postmaster is None or postmaster.pid != pid_file.pid:
            return None
        return _urls(Credentials.load(home / _CREDENTIALS), pid_file.socket_folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(data_dir, error) from error


def is_installed(data_dir: Path) -> bool:
    """Whether an embedded server was ever made in a data folder, whether it runs or not.

    Raises:
        PostgresStartError: When the folder cannot be looked into.
    """
    home = _home(data_dir)
    try:
        return (home / _CREDENTIALS).exists()
    except OSError as error:
        raise _unreadable(data_dir, error) from error


def _unreadable(data_dir: Path, error: OSError) -> PostgresStartError:
    return PostgresStartError(
        f"The data folder {data_dir} cannot be read: {error.strerror}. Run this as the service's user."
    )


def _home(data_dir: Path) -> Path:
    home = data_dir.resolve() / "postgres"
    if any(not character.isprintable() for character in str(home)):
        # PostgreSQL's configuration and pid file have one path a line; a lone surrogate is a byte that is not UTF-8.
        raise PostgresStartError(
            f"The data folder's path {str(home)!r} has a control character or is not UTF-8. Choose another."
        )
    return home


def _urls(credentials: Credentials, socket_folder: Path) -> DatabaseUrls:
    return DatabaseUrls(
        service=database_url("undercroft_service", credentials.service, socket_folder),
        migration=database_url("undercroft_owner", credentials.owner, socket_folder),
    )


def _is_ready(running: _Running) -> bool:
    pid_file = PidFile.read(running.cluster)
    return (
        pid_file is not None and pid_file.pid == running.process.pid and pid_file.status == "ready"
    )


def _failure(what: str, cluster: Cluster) -> str:
    return f"The embedded PostgreSQL {what}. The end of its log:\n{cluster.last_log_lines()}"

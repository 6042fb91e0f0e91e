"""The server's processes: found by name in the process table, observed through the pid file, shut down."""

import contextlib
import fcntl
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.configuration import PORT
from undercroft.kit.postgres.errors import DataFolderInUseError

_LEFTOVER_SECONDS: Final = 10.0
_SHUTDOWN_STEPS: Final = (
    (signal.SIGINT, 30.0),  # fast: roll back what runs, write a checkpoint
    (signal.SIGQUIT, 10.0),  # immediate: the next start recovers
    (signal.SIGKILL, 10.0),
)


def acquire_lock(path: Path) -> int:
    """Become the one owner of a data folder until the descriptor is closed or this process ends, however it ends.

    Returns:
        The lock's file descriptor. Programs that this process runs do not inherit it.

    Raises:
        DataFolderInUseError: When another service is the owner.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise DataFolderInUseError(
            f"The data folder {path.parent.parent} is in use by another undercroft (process {owner}). "
            "Stop that one, or choose another folder with --data-dir."
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@dataclass(frozen=True, slots=True)
class PidFile:
    """What ``postmaster.pid`` says.

    Attributes:
        pid: The postmaster, at the time it wrote this.
        socket_folder: Where its socket is.
        status: ``starting``, ``ready``, ``stopping`` or ``standby``.
    """

    pid: int
    socket_folder: Path
    status: str

    @classmethod
    def read(cls, cluster: Cluster) -> "PidFile | None":
        """Read it; None while it is absent or not completely written."""
        try:
            text = (cluster.data / "postmaster.pid").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        lines = text.splitlines()
        if len(lines) < 8 or not lines[0].strip().isdigit():
            return None
        return cls(int(lines[0]), Path(lines[4]), lines[7].strip())


def find_processes(cluster: Cluster) -> tuple[psutil.Process | None, list[psutil.Process]]:
    """This cluster's postmaster, if it runs, and its other processes.

    They are found in the process table and not through the pid file, whose number may belong to another program by
    now, or which may not have been written yet. Command lines can be read without rights over the process.
    """
    name = cluster.name()
    title, argument = f"postgres: {name}:", f"cluster_name={name}"
    servers: list[psutil.Process] = []
    children: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command and command[0].startswith(title):
                children.append(process)
            elif argument in command:
                servers.append(process)
    # A child that was forked just now still carries its parent's command line.
    pids = {process.pid for process in servers}
    postmaster: psutil.Process | None = None
    for process in servers:
        with contextlib.suppress(psutil.Error):
            if process.ppid() in pids:
                children.append(process)
            else:
                postmaster = process
    return postmaster, children


def has_exited(process: psutil.Process) -> bool:
    """Whether a process has ended; reaps it if it is a child of ours."""
    try:
        process.wait(0)
    except psutil.TimeoutExpired:
        # The zombie of a parent that does not reap: psutil counts it as running.
        with contextlib.suppress(psutil.NoSuchProcess):
            return process.status() == psutil.STATUS_ZOMBIE
    return True


def clear_remains(cluster: Cluster, children: list[psutil.Process]) -> None:
    """Make room for a new server after one that was killed.

    While one of its other processes is left, PostgreSQL refuses to start. They end on their own sooner or later;
    killing them loses nothing, because what they share is recovered from the log in any case. The pid files would
    keep a new server from starting if their number belongs to another program by now (in a container it often does).
    """
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(children, timeout=_LEFTOVER_SECONDS)
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)
    (cluster.run / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)


def shut_down(process: psutil.Process) -> None:
    """Stop a server, more forcefully the longer it takes: at most 50 seconds."""
    for number, seconds in _SHUTDOWN_STEPS:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            if has_exited(process):
                return
        else:
            return

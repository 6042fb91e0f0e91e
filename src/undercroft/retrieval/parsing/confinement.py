"""What a parser's process may not do: the limits that the kernel enforces, whatever the parser was talked into.

A parser gets its file as an open descriptor and gives its answer through a socket, so it needs no file system, no
network and no other process. The resource limits hold everywhere; Landlock (kernel 5.13) and the namespaces are taken
where the machine permits them, and what is missing is reported.

Landlock opens no file, but lets a process change modes and times by a path, and connect to a socket that has one: so
the root folder is empty, which takes the capabilities of a user namespace.
"""

import ctypes
import os
import resource
import signal
import tempfile
from pathlib import Path
from typing import Final

NO_NETWORK: Final = "network"
NO_FILE_SYSTEM: Final = "file system"
NO_PATHS: Final = "paths"

MAX_DESCRIPTORS: Final = 32

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_QUERY_VERSION: Final = 1
_FILE_RIGHTS: Final = 13  # of the first version; version 2, 3 and 5 added one each
_NETWORK_RIGHTS: Final = 0b11  # bind and connect, from version 4
_SCOPES: Final = 0b11  # abstract sockets and signals to processes outside, from version 6

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


def confine_server() -> list[str]:
    """Limit this process and all it will fork: no network, no new privileges, no core files, no file writes.

    The process must have one thread.

    Returns:
        Which protections this machine does not offer, from :data:`NO_NETWORK`, :data:`NO_FILE_SYSTEM`
        and :data:`NO_PATHS`.
    """
    missing: list[str] = []
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        missing.append(NO_NETWORK)
    if _landlock_version() < 1:
        missing.append(NO_FILE_SYSTEM)
    try:
        _enter_empty_root()
    except OSError:  # no user namespace, or no folder for temporary files
        missing.append(NO_PATHS)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    return missing


def confine_parser(server: int, memory_bytes: int, cpu_seconds: int) -> None:
    """Limit this freshly forked process to reading what it holds open.

    Args:
        server: The process that forked it; this one ends with it.
        memory_bytes: The most address space it may use.
        cpu_seconds: The most processor time it may use before SIGXCPU ends it.
    """
    _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != server:  # it died before the line above
        os._exit(1)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)
    _limit(resource.RLIMIT_NOFILE, MAX_DESCRIPTORS)
    _limit(resource.RLIMIT_NPROC, 0)
    # Of its own, so that shared memory goes with it. Refused where the server has no user namespace.
    _libc.unshare(_CLONE_NEWIPC)
    _deny_file_system()


def _enter_empty_root() -> None:
    """Make a folder that is gone this process's root: there is no other path, and none can be made."""
    folder = Path(tempfile.mkdtemp())
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    folder.rmdir()
    os.fchdir(descriptor)
    os.close(descriptor)
    os.chroot(".")


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; one that is lower already stays."""
    _, ceiling = resource.getrlimit(kind)
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
    resource.setrlimit(kind, (min(soft, hard), hard))


def _landlock_version() -> int:
    return int(
        _libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_QUERY_VERSION)
    )


def _deny_file_system() -> None:
    """Enter a Landlock domain without a single rule: no path can be opened, no outside process reached."""
    version = _landlock_version()
    if version < 1:
        return
    rights = _FILE_RIGHTS + (version >= 2) + (version >= 3) + (version >= 5)
    ruleset = _Ruleset(
        handled_access_fs=(1 << rights) - 1,
        handled_access_net=_NETWORK_RIGHTS if version >= 4 else 0,
        scoped=_SCOPES if version >= 6 else 0,
    )
    descriptor = _call(
        "syscall",
        _LANDLOCK_CREATE_RULESET,
        ctypes.byref(ruleset),
        ctypes.c_size_t(ctypes.sizeof(ruleset)),
        0,
    )
    _call("syscall", _LANDLOCK_RESTRICT_SELF, descriptor, 0)
    os.close(descriptor)


def _call(name: str, *arguments: object) -> int:
    result = int(getattr(_libc, name)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result

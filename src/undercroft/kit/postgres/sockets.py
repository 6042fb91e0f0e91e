"""The folder of the server's unix socket.

A socket's path may be 107 bytes long on Linux, and a comma in it would end it in a URL. Where the data folder's path
does not suit, the socket is in a short private folder and ``run`` is a link that records which.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.configuration import PORT
from undercroft.kit.postgres.errors import PostgresStartError

_LONGEST_ADDRESS: Final = 107


def make_socket_folder(cluster: Cluster) -> Path:
    """The folder to put the socket in; the same one each time while a server uses it.

    Raises:
        PostgresStartError: When the folder for temporary files has too long a path as well.
    """
    if _suits(cluster.run):
        cluster.make_folder(cluster.run)
        return cluster.run
    if cluster.run.is_symlink():
        folder = cluster.run.readlink()
        if _is_still_ours(folder, cluster):
            return folder
        cluster.run.unlink()
    elif cluster.run.is_dir():
        shutil.rmtree(cluster.run)
    folder = Path(tempfile.mkdtemp(prefix="undercroft-"))
    if not _suits(folder):
        folder.rmdir()
        raise PostgresStartError(
            f"The path of {cluster.run} is too long for a unix socket, and so is {folder}. Set TMPDIR to a short path."
        )
    cluster.hand_over(folder)
    cluster.run.symlink_to(folder)
    return folder


def remove_socket_folder(cluster: Cluster) -> None:
    """Remove the short folder, if there is one. The server must have ended."""
    if cluster.run.is_symlink():
        folder = cluster.run.readlink()
        cluster.run.unlink()
        if _is_still_ours(folder, cluster):
            shutil.rmtree(folder, ignore_errors=True)


def _suits(folder: Path) -> bool:
    address = os.fsencode(folder / f".s.PGSQL.{PORT}")
    return len(address) <= _LONGEST_ADDRESS and b"," not in address


def _is_still_ours(folder: Path, cluster: Cluster) -> bool:
    """Whether it is the folder that we made in a public place, and not one that someone put there since."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    status = folder.stat()
    owner = os.geteuid() if cluster.account is None else cluster.account.uid
    return status.st_uid == owner and status.st_mode & 0o077 == 0

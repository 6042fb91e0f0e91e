"""Deletes a cluster for good."""

import shutil
import tempfile
from pathlib import Path

from undercroft.kit.postgres.cluster import Cluster


def erase_cluster(cluster: Cluster, home: Path) -> None:
    """Delete a stopped cluster and the folder that remembers where it is.

    After a crash in the middle, ``home`` has either all of the cluster or none of it, and a server can be started there.

    Args:
        cluster: Its server has ended.
        home: ``data_dir/postgres``, where the cluster is unless it was moved.
    """
    if cluster.data.exists():
        cluster.data.rename(Path(tempfile.mkdtemp(prefix="erased-", dir=cluster.folder)) / "data")
    for path in cluster.folder.iterdir():
        # In `home` the lock goes last, with the folder.
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    shutil.rmtree(home)
    if cluster.folder != home:
        shutil.rmtree(cluster.folder)

"""Deletes a cluster for good."""

import shutil
import tempfile
from pathlib import Path

from undercroft.kit.postgres.cluster import Cluster


def erase_cluster(cluster: Cluster, home: Path) -> None:
    """Delete a stopped cluster and the folder that remembers where it is.

    After a crash in the middle, a server can be started in ``home``, on all of the database or on none of it.

    Args:
        cluster: Its server has ended.
        home: ``data_dir/postgres``, where the cluster is unless it was moved.
    """
    if cluster.data.exists():
        cluster.data.rename(Path(tempfile.mkdtemp(prefix="erased-", dir=cluster.folder)) / "data")
    if cluster.folder != home:
        # Emptied before `home` forgets where it is, and removed after: never lost with data in it, never missed.
        for folder in cluster.folder.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(home)
    if cluster.folder != home:
        shutil.rmtree(cluster.folder)

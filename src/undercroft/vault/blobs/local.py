"""Blobs as files below one folder: the default."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from undercroft.kit.files import sync_folder
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.blobs.protocol import KeptFile
from undercroft.vault.errors import BlobMissingError

_NAME_DIGITS: Final = 64


class LocalBlobStore:
    """A folder for each tenant, files in 256 folders below by the first byte of their name.

    Args:
        folder: Created with mode 0700 when missing. On the file system of the staging folder: files are moved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # One by one: `parents` would give the folders above the default mode.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
        """See :class:`BlobStore`."""
        await asyncio.to_thread(_move, staged.path, self._path(tenant_id, staged.name))

    async def read(self, tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
        """See :class:`BlobStore`."""
        return await asyncio.to_thread(_read, self._path(tenant_id, name), start, length)

    async def delete(self, tenant_id: UUID, name: bytes) -> None:
        """See :class:`BlobStore`."""
        path = self._path(tenant_id, name)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def list_files(self) -> AsyncIterator[KeptFile]:
        """See :class:`BlobStore`."""
        for folder in await asyncio.to_thread(lambda: sorted(self._folder.glob("*/*"))):
            for kept in await asyncio.to_thread(_list, folder):
                yield kept

    def _path(self, tenant_id: UUID, name: bytes) -> Path:
        return self._folder / tenant_id.hex / name[:1].hex() / name.hex()


def _move(source: Path, target: Path) -> None:
    folders = target.parents[:3]
    for folder in reversed(folders):
        folder.mkdir(mode=0o700, exist_ok=True)
    source.rename(target)
    # All three: any of them may just have got its first entry.
    for folder in folders:
        sync_folder(folder)


def _read(path: Path, start: int, length: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise BlobMissingError from error
    try:
        pieces: list[bytes] = []
        while length > 0 and (piece := os.pread(descriptor, length, start)):
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _list(folder: Path) -> list[KeptFile]:
    kept: list[KeptFile] = []
    for path in folder.iterdir():
        if len(path.name) != _NAME_DIGITS:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            # Deleted since the folder was listed, by whoever erased it or swept at the same time.
            continue
        modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
        tenant_id = UUID(hex=folder.parent.name)
        kept.append(KeptFile(tenant_id, bytes.fromhex(path.name), status.st_size, modified_at))
    return kept

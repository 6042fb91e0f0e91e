"""Blobs in a bucket of Amazon S3 or of what speaks its protocol."""

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import obstore
import structlog
from obstore.exceptions import BaseError, GenericError
from obstore.store import S3Store

from undercroft.kit.crypto.segments import ciphertext_length
from undercroft.kit.errors import UnavailableError
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.blobs.protocol import KeptFile
from undercroft.vault.errors import BlobMissingError

if TYPE_CHECKING:  # these names are for type checkers alone
    from obstore import ObjectMeta
    from obstore.store import S3Config

_PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_ONCE: Final = 2
"""So an upload holds a few parts, however large it is; of more than 80 GB, its parts grow."""
_MOST_PARTS: Final = 10_000
_CONNECT: Final = timedelta(seconds=5)
_REQUEST: Final = timedelta(seconds=60)
"""The longest that one part or range may take."""
_RETRIES: Final = 3
_RETRYING: Final = timedelta(seconds=20)
_RETRY_AFTER: Final = 5
_NAME_DIGITS: Final = 64

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is, and who enters.

    Attributes:
        name: Its name.
        prefix: What the names of all objects begin with, without slashes at its ends; may be empty.
        endpoint: The server; None for Amazon's.
        region: None for what the environment says (``AWS_REGION``).
        access_key_id: None for the credentials of the environment or the machine.
        secret_access_key: Goes with it.
    """

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)


class S3BlobStore:
    """Objects named as the files of :class:`LocalBlobStore`: tenant, first byte of the name, name.

    An object appears whole or not at all: S3 shows a multipart upload once it is complete.
    """

    def __init__(self, bucket: Bucket) -> None:
        config: S3Config = {
            name: value
            for name, value in (
                ("endpoint", bucket.endpoint),
                ("region", bucket.region),
                ("access_key_id", bucket.access_key_id),
                ("secret_access_key", bucket.secret_access_key),
            )
            if value is not None
        }  # pyright: ignore[reportAssignmentType] # the names are those of its keys
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            config=config,
            client_options={
                "allow_http": (bucket.endpoint or "").startswith("http://"),
                "connect_timeout": _CONNECT,
                "timeout": _REQUEST,
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRYING},
        )

    async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
        """See :class:`BlobStore`."""
        least = -(-ciphertext_length(staged.byte_size) // _MOST_PARTS)
        with _explaining("put"):
            await obstore.put_async(
                self._store,
                _path(tenant_id, staged.name),
                staged.path,
                chunk_size=max(_PART_BYTES, least),
                max_concurrency=_PARTS_AT_ONCE,
            )

    async def read(self, tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
        """See :class:`BlobStore`."""
        path = _path(tenant_id, name)
        with _explaining("get"):
            try:
                block = await obstore.get_range_async(self._store, path, start=start, length=length)
            except GenericError:
                # S3 refuses a range that begins at the end or after it.
                if (await obstore.head_async(self._store, path))["size"] > start:
                    raise
                return b""
        return bytes(block)

    async def delete(self, tenant_id: UUID, name: bytes) -> None:
        """See :class:`BlobStore`."""
        with _explaining("delete"):
            await obstore.delete_async(self._store, _path(tenant_id, name))

    async def list_files(self) -> AsyncIterator[KeptFile]:
        """See :class:`BlobStore`."""
        pages = obstore.list(self._store)  # pyright: ignore[reportUnknownMemberType] # Arrow's, not installed
        while True:
            try:
                with _explaining("list"):
                    page = await anext(pages)
            except StopAsyncIteration:
                return
            for listed in page:
                kept = _kept(listed)
                if kept is not None:
                    yield kept


def _path(tenant_id: UUID, name: bytes) -> str:
    return f"{tenant_id.hex}/{name[:1].hex()}/{name.hex()}"


def _kept(listed: "ObjectMeta") -> KeptFile | None:
    """What an object is; None for one that is not ours."""
    tenant, _, rest = listed["path"].partition("/")
    name = rest.rpartition("/")[2]
    try:
        tenant_id, digest = UUID(hex=tenant), bytes.fromhex(name)
    except ValueError:
        return None
    if listed["path"] != _path(tenant_id, digest) or len(name) != _NAME_DIGITS:
        return None
    return KeptFile(tenant_id, digest, listed["size"], listed["last_modified"])


@contextmanager
def _explaining(action: str) -> Generator[None]:
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            raise BlobMissingError from error
        # Its first line says what was asked of whom, and what came; the rest is the client's own state.
        _log.error("blob_store_failed", action=action, reason=str(error).partition("\n")[0])
        raise UnavailableError(
            "The store that holds the documents' bytes does not answer as it should; its operator finds the reason in "
            "the log.",
            retry_after=_RETRY_AFTER,
            code="store_unavailable",
        ) from error

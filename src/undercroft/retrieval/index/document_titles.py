"""The title of a document, read again: passages are embedded below it, and it is not kept with them."""

from uuid import UUID

import structlog

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.retrieval.index.repository import IndexRepository
from undercroft.retrieval.parsing.sandbox import ParserSandbox
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import open_content

_log = structlog.stdlib.get_logger(__name__)


class DocumentTitles:
    """Parses contents for their titles."""

    def __init__(
        self, database: Database, blobs: BlobStore, keys: KeyRing, sandbox: ParserSandbox
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._keys = keys
        self._sandbox = sandbox
        self._repository = IndexRepository()

    async def find(self, scope: Scope, blob_id: UUID) -> str | None:
        """The title that a content states; None where it states none, is gone or cannot be read any more."""
        async with self._database.transaction(scope) as transaction:
            row = await self._repository.find_content(transaction, blob_id)
        if row is None:
            return None
        try:
            content = await open_content(self._blobs, self._keys, row)
            document = await self._sandbox.extract(await content.read(), row["media_type"])
        except (UndercroftError, DecryptionError) as error:
            # A passage that is embedded without it is still found.
            _log.warning("title_not_found", blob_id=str(blob_id), reason=str(error))
            return None
        return document.title

"""Writes comments on documents, shows them and deletes them."""

from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction
from undercroft.sharing.ways import EVERY_ACTION, acts_under, read_access
from undercroft.vault.access import DocumentAccess, no_document, subject_of
from undercroft.vault.comments.errors import NotAuthorError, TooManyCommentsError
from undercroft.vault.comments.models import COMMENT_PREFIX, MOST_COMMENTS, Comment
from undercroft.vault.comments.repository import CommentRepository
from undercroft.vault.errors import LegalHoldError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, Document

_WRITE: Final = (GrantAction.COMMENT,)
_SEE: Final = (GrantAction.READ, GrantAction.COMMENT)


class CommentService:
    """Comments on documents, each sealed under the document's key.

    Args:
        database: Where they are.
        keys: Seal and open them.
        ledger: Where it is put on record.
        ids: Names them.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger, ids: IdSource) -> None:
        self._keys = keys
        self._ledger = ledger
        self._ids = ids
        self._access = DocumentAccess(database, keys, ledger)
        self._repository = CommentRepository()

    async def create(
        self, scope: Scope, document_id: UUID, text: str, version: int | None = None
    ) -> Comment:
        """Comment on a version of a document: the current one unless its owner names another.

        Raises:
            NotFoundError: When the principal may see no such document, or no such version of it.
            NotGrantedError: When they may, and not comment on it.
            GrantEndedError: When the grant ended meanwhile.
            TooManyCommentsError: When the document has the most comments that one can have.
        """
        async with self._access.refusing(scope, "comment.create", document_id) as transaction:
            # Against others who comment at the same time, of whom each would find room for the last one; against an
            # erasure; and, by the grants that it holds, against a revocation that is answered before this is written.
            document = await self._access.lock(transaction, document_id, None, _WRITE)
            room = await self._repository.find_room(transaction, document_id)
            if room is None:
                raise no_document(document_id)
            if room["comment_count"] >= MOST_COMMENTS:
                raise TooManyCommentsError(MOST_COMMENTS)
            key = await self._keys.open(room)
            comment_id = self._ids.new()
            sealed = seal(key.material, text.encode(), comment_place(scope.tenant_id, comment_id))
            row = await self._repository.insert_comment(
                transaction, document_id, comment_id, version, sealed
            )
            if row is None:
                raise _no_version(document_id, version)
            number: int = row["document_version"]
            await self._record(transaction, scope, "comment.create", document, number)
        return Comment(comment_id, document_id, number, row["author_id"], text, row["created_at"])

    async def list_comments(
        self, scope: Scope, document_id: UUID, *, after: UUID | None = None, limit: int
    ) -> list[Comment]:
        """A page of a document's comments, the oldest first.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and neither read it nor comment on it.
        """
        async with self._access.refusing(scope, "comment.read", document_id) as transaction:
            rows = await self._repository.list_comments(
                transaction, document_id, _SEE, after, limit
            )
            if not rows:
                await self._access.refuse(transaction, document_id, _SEE)
                raise no_document(document_id)
            first = rows[0]
            key = await self._keys.open(first)
            comments = [_open(key, document_id, row) for row in rows if row["id"] is not None]
            subject = Subject(render_id(DOCUMENT_PREFIX, document_id), first["salt"])
            act = Act("comment.read", subject, first["owner_id"], first["current_version"])
            way = read_access(first["action"], first["ways"]).way
            await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
        return comments

    async def delete(self, scope: Scope, document_id: UUID, comment_id: UUID) -> None:
        """Delete a comment: one's own while one may see the document, any on a document of one's own.

        Raises:
            NotFoundError: When the principal may see no such document, or there is no such comment on it.
            NotGrantedError: When they may see the document, neither read it nor comment on it, and wrote none such.
            NotAuthorError: When it is another's, on a document that is another's.
            GrantEndedError: When the grant ended meanwhile.
            LegalHoldError: When the document is under legal hold.
        """
        async with self._access.refusing(scope, "comment.delete", document_id) as transaction:
            # Against a hold at the same instant: it is placed before this, and seen here, or waits for the result.
            document = await self._access.lock(
                transaction, document_id, None, EVERY_ACTION, even_damaged=True
            )
            version = await self._repository.delete_comment(
                transaction, document_id, comment_id, EVERY_ACTION
            )
            if version is None:
                raise await self._refusal(transaction, document_id, comment_id)
            if document.held_at is not None:
                raise LegalHoldError
            await self._record(transaction, scope, "comment.delete", document, version)

    async def _refusal(
        self, transaction: Transaction, document_id: UUID, comment_id: UUID
    ) -> Exception:
        """Why a comment was not deleted, for whoever may see the document."""
        if await self._repository.find_comment(transaction, document_id, comment_id, _SEE):
            return NotAuthorError()
        await self._access.find(transaction, document_id, _SEE, even_damaged=True)
        return NotFoundError("comment", render_id(COMMENT_PREFIX, comment_id))

    async def _record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        document: Document,
        version: int,
    ) -> None:
        act = Act(action, subject_of(document), document.owner_id, version)
        await self._ledger.append(transaction, scope, *acts_under(scope, document.access.way, act))


def comment_place(tenant_id: UUID, comment_id: UUID) -> bytes:
    """What a comment's text is bound to."""
    return bind(tenant_id, "document_comments", comment_id, "text")


def _open(key: DataKey, document_id: UUID, row: Record) -> Comment:
    place = comment_place(row["tenant_id"], row["id"])
    return Comment(
        id=row["id"],
        document_id=document_id,
        version=row["document_version"],
        author_id=row["author_id"],
        text=unseal(key.material, row["sealed_text"], place).decode(),
        created_at=row["created_at"],
    )


def _no_version(document_id: UUID, version: int | None) -> NotFoundError:
    return NotFoundError(f"version {version} of a file", render_id(DOCUMENT_PREFIX, document_id))

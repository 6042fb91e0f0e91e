"""Comments on documents as the routes show them."""

from typing import Literal
from uuid import UUID

from undercroft.http.objects import Shown, Time
from undercroft.http.wire import JsonObject, render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import user_reference
from undercroft.vault.comments.models import COMMENT_PREFIX, Comment
from undercroft.vault.models import DOCUMENT_PREFIX


class CommentObject(Shown):
    """What somebody wrote about a version of a document."""

    id: str
    object: Literal["document.comment"]
    document: str
    version: int
    author: str
    text: str
    created_at: Time


def render_comment(comment: Comment) -> JsonObject:
    """A comment as it is shown."""
    return {
        "id": render_id(COMMENT_PREFIX, comment.id),
        "object": "document.comment",
        "document": render_id(DOCUMENT_PREFIX, comment.document_id),
        "version": comment.version,
        "author": user_reference(comment.author_id),
        "text": comment.text,
        "created_at": render_time(comment.created_at),
    }


def require_comment_id(text: str, parameter: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(COMMENT_PREFIX, "comment", text, parameter)

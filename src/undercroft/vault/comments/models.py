"""A comment on a document."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

COMMENT_PREFIX: Final = "comment_"
LONGEST_TEXT: Final = 4000
"""The most characters of a comment."""
MOST_COMMENTS: Final = 1000
"""The most comments of one document."""


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody wrote about a version of a document.

    Attributes:
        version: Of the document, which it is about.
        author_id: Who wrote it.
    """

    id: UUID
    document_id: UUID
    version: int
    author_id: UUID
    text: str = field(repr=False)
    created_at: datetime

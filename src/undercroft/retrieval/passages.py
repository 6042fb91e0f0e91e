"""The text of a chunk, as it is stored: encrypted under its content's key, bound to its place in the content."""

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
from undercroft.sharing.policy import Place

LaterHeadings: TypeAlias = tuple[tuple[int, tuple[str, ...]], ...]
"""Where in a passage further sections begin, ascending, in characters from its start, and the titles above each."""
HeadingStarts: TypeAlias = tuple[tuple[int, ...], ...]
"""Where the lines of titles begin, for each of several paths of titles."""


@dataclass(frozen=True, slots=True)
class PassageText:
    """What of a chunk is encrypted.

    Attributes:
        headings: The titles above its beginning, outermost first.
        later_headings: Where in it further sections begin, and the titles above those. Nothing since a chunk lies in
            one section; before, short ones were joined.
        heading_starts: Where in it the lines of the titles begin: of those in ``headings``, then of those of each of
            ``later_headings``. Nothing for what was indexed before that was kept.
        digest: Of what was embedded, by which a later version of the document finds what of it is the same; nothing for
            what was indexed before that was kept. Here and not in a column, where it would tell what equals what.
    """

    text: str
    headings: tuple[str, ...]
    later_headings: LaterHeadings = ()
    heading_starts: HeadingStarts = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class PassagePlace:
    """Which chunk it is: what its ciphertext is bound to."""

    tenant_id: UUID
    blob_id: UUID
    ordinal: int

    @property
    def context(self) -> bytes:
        """The associated data."""
        return bind(self.tenant_id, "chunks", self.blob_id, "text", self.ordinal)


def seal_passage(key: bytes, place: PassagePlace, passage: PassageText) -> bytes:
    """Encrypt a chunk's text and headings."""
    content = [
        passage.text,
        passage.headings,
        passage.later_headings,
        passage.heading_starts,
        passage.digest,
    ]
    return seal_json(key, content, place.context)


def open_passage(key: bytes, place: PassagePlace, sealed: bytes) -> PassageText:
    """Decrypt a chunk's text and headings.

    Raises:
        DecryptionError: When it is not what was stored in that place.
    """
    text, headings, later, *further = unseal_json(key, sealed, place.context)
    return PassageText(
        text,
        tuple(headings),
        tuple((at, tuple(path)) for at, path in later),
        tuple(map(tuple, further[0])) if further else (),
        further[1] if len(further) > 1 else "",
    )


def open_row(key: bytes, row: Record) -> PassageText:
    """Decrypt what the row of a chunk holds.

    Raises:
        DecryptionError: When it is not what was stored in that place.
    """
    place = PassagePlace(row["tenant_id"], row["blob_id"], row["ordinal"])
    return open_passage(key, place, row["sealed_text"])


def place_of(passage: PassageText, page_start: int | None, page_end: int | None) -> Place:
    """Where in its document it stands. One that runs on into another section stands in what is above both."""
    headings = set(passage.headings).intersection(*(path for _, path in passage.later_headings))
    return Place(page_start, page_end, tuple(headings))

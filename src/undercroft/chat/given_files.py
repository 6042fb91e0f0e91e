"""Files that come with a request, as a model is told them: their texts, fenced as data. Pure.

Nothing is kept of such a file but its text, with the message that it came in: so whoever goes on from there shows it
again, and what deletes or erases the message takes it along.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from undercroft.chat.prompt import fenced_file
from undercroft.chat.providers.images import images_in, moved
from undercroft.chat.providers.protocol import UNCITED, Message, Passage, Role
from undercroft.chat.reading import MAX_PASSAGE_LENGTH

UNNAMED: Final = "file"
"""What one is called that came without a name."""
_NO_DOCUMENT: Final = UUID(int=0)


def quoted_files(parts: Sequence[Mapping[str, Any]]) -> str:
    """The files of a message's parts, one after the other, as they stand before what the message says."""
    return "".join(
        fenced_file(part.get("filename") or UNNAMED, part["text"])
        for part in parts
        if part["type"] == "input_file" and part.get("text") is not None
    )


def said_in(parts: Sequence[Mapping[str, Any]]) -> str:
    """What a message's parts say, without the files among them."""
    return "".join(part.get("text") or "" for part in parts if part["type"] != "input_file")


def as_told(role: Role, parts: Sequence[Mapping[str, Any]]) -> Message:
    """A message as a model is told it: its files, then what it says, with its pictures where they stand in that."""
    quoted = quoted_files(parts)
    images = moved(images_in(parts), len(quoted))
    return Message(role, quoted + said_in(parts), images=images, quoted=len(quoted))


def uncited(attached: str) -> tuple[Passage, ...]:
    """Files as what is said is compared with them: it may rest on them, and there is no document to point to."""
    return tuple(
        Passage(UNCITED, _NO_DOCUMENT, "", text, start, start + len(text), None, None, (), 0.0)
        for start in range(0, len(attached), MAX_PASSAGE_LENGTH)
        for text in (attached[start : start + MAX_PASSAGE_LENGTH],)
    )

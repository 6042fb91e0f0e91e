"""What was made from documents, as it may be read now: whole, or without what it says.

An answer repeats the documents that it was made from, and so does whatever was said after it. So whoever reads it needs
a way to every passage behind it. It was somebody's right when it was made; each reading asks again (invariant 2).
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.retrieval.passages import PassagePlace, open_passage, place_of
from undercroft.sharing.models import Release, Way
from undercroft.sharing.policy import choose_way, read_ways, ways_to_place
from undercroft.vault.keys.service import KeyRing

REDACTED: Final = "[Removed: a document that this answer was made from can no longer be read.]"
_WITHOUT_CONTENT: Final[Mapping[str, Mapping[str, Any]]] = {
    # The query repeats the message that was answered, whosever that was.
    "file_search_call": {"queries": [], "results": None},
    "function_call": {"arguments": "{}"},
    "function_call_output": {"output": REDACTED},
    "mcp_call": {"arguments": "{}", "output": None, "error": None},
    "mcp_approval_request": {"arguments": "{}"},
    "reasoning": {"summary": [], "content": []},
    "compaction": {},
}
"""What takes the place of what was found and said, by the type of the item."""
_WITHOUT_PASSAGES: Final = frozenset({"mcp_list_tools", "mcp_approval_response"})
"""Items that were made before a word of any document, or by a person."""


def releases_through(
    sources: Sequence[Mapping[str, Any]], ways: Sequence[Sequence[Way]]
) -> list[Release]:
    """What something was made from, each by the way that is taken to it.

    Args:
        sources: As a query answers them.
        ways: Those to each that count; one at least.
    """
    return [
        Release(
            UUID(source["document"]),
            choose_way(each),
            source["is_own"],
            is_searched=True,
            version=source["version"],
        )
        for source, each in zip(sources, ways, strict=True)
    ]


async def may_see(
    keys: KeyRing, row: Record, accepts: Callable[[Way], bool] = lambda _: True
) -> bool:
    """Whether a passage is its reader's to see.

    Where it stands is not known of what is no more indexed, or does not open.

    Args:
        keys: Open its text.
        row: The passage, with the reader's ways to its document and its text, as ``list_passage_texts`` answers it.
        accepts: Which of the ways count.
    """
    ways = [way for way in read_ways(row["ways"]) if accepts(way)]
    if any(map(is_whole, ways)):
        return True
    if row["sealed_text"] is None:
        return False
    key = await keys.open(row)
    place = PassagePlace(row["tenant_id"], row["blob_id"], row["ordinal"])
    try:
        passage = open_passage(key.material, place, row["sealed_text"])
    except DecryptionError:
        return False
    return bool(ways_to_place(ways, place_of(passage, row["page_start"], row["page_end"])))


def is_whole(way: Way) -> bool:
    """Whether it shows all of a document."""
    return all(grant.parts is None for grant in way.grants)


def redact_item(item: dict[str, Any]) -> dict[str, Any]:
    """An item of an answer without what was found and said."""
    if item["type"] in _WITHOUT_CONTENT:
        # What only its model can read goes with what was told of it.
        shown = {name: value for name, value in item.items() if name != "encrypted_content"}
        return {**shown, **deepcopy(_WITHOUT_CONTENT[item["type"]])}
    if item["type"] in _WITHOUT_PASSAGES:
        return item
    parts: Sequence[dict[str, Any]] = item["content"]
    content = list(map(_redact_part, parts))
    return {**item, "content": content}


def _redact_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] in {"input_image", "input_file"}:
        return {"type": "input_text", "text": REDACTED}
    return {**part, "text": REDACTED, "annotations": list[dict[str, Any]]()}

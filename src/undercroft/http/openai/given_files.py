"""Files that come with a request, read before anything is promised: their texts take the places of their contents."""

from collections.abc import Sequence
from uuid import UUID

from undercroft.chat.file_texts import FileTexts
from undercroft.chat.questions import MOST_FILES
from undercroft.http.openai.attachments import FilePart
from undercroft.http.openai.response_inputs import InputItem, MessageItem
from undercroft.kit.errors import InvalidRequestError


async def with_texts(
    file_texts: FileTexts,
    tenant_id: UUID,
    items: Sequence[InputItem],
    param: str,
    places: Sequence[int] | None = None,
) -> list[InputItem]:
    """Items of a request with their files read.

    Args:
        file_texts: Reads them.
        tenant_id: Whose request it is.
        items: The items.
        param: The request field that holds them.
        places: Where each stands in that, if there is more in it.

    Raises:
        InvalidRequestError: When a file cannot be read, or there are too many.
        UnavailableError: When too many others are being read.
    """
    given = [
        file
        for place, item in zip(places or range(len(items)), items, strict=True)
        if isinstance(item, MessageItem) and not isinstance(item.content, str)
        for number, part in enumerate(item.content)
        if isinstance(part, FilePart)
        and (file := part.given(f"{param}.{place}.content.{number}")) is not None
    ]
    if not given:
        return list(items)
    if len(given) > MOST_FILES:
        raise InvalidRequestError(f"Give at most {MOST_FILES} files.", param=param)
    texts = iter(await file_texts.read(tenant_id, given, param))
    return [
        item.with_files(
            part if part.file_data is None else part.with_text(next(texts)) for part in item.files()
        )
        if isinstance(item, MessageItem)
        else item
        for item in items
    ]


def documents_in(items: Sequence[InputItem], param: str) -> tuple[UUID, ...]:
    """The documents that the messages show, each once.

    Args:
        items: The items of a request.
        param: The request field that holds them.

    Raises:
        InvalidRequestError: When they show more files than are taken.
        NotFoundError: When an id can be no document's.
    """
    files = [file for item in items if isinstance(item, MessageItem) for file in item.files()]
    if len(files) > MOST_FILES:
        raise InvalidRequestError(f"Give at most {MOST_FILES} files.", param=param)
    found = (file.document_id(param) for file in files)
    return tuple(dict.fromkeys(each for each in found if each is not None))

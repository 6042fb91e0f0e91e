"""Pictures and files in messages. What would have to be fetched from an address is refused."""

from typing import Annotated, Final, Literal, Self, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from undercroft.chat.file_texts import GivenFile
from undercroft.chat.providers.images import Detail, read_image
from undercroft.http.openai.inputs import LongText, TextPart
from undercroft.http.wire import RequestBody, require_id
from undercroft.vault.models import DOCUMENT_PREFIX

_LONGEST_URL: Final = 4 * 1024 * 1024
_LONGEST_DATA: Final = 32 * 1024 * 1024
NO_FILE: Final = "There is no file, or there are several: give its content in 'file_data', or its id in 'file_id'."
ONLY_A_USERS: Final = "Pictures and files are parts of a user's messages alone."
_REFUSALS: Final = {
    "file_id": "The vault keeps no pictures. Give it as a data URL, in 'image_url'.",
    "file_url": "Files are not fetched from addresses. Give it in 'file_data', or upload it and give its 'file_id'.",
}


def _looked_at(url: str) -> str:
    """A picture's data URL with the type that its content has, whatever was said of it."""
    try:
        return read_image(url).url
    except ValueError as error:
        raise PydanticCustomError("invalid_image", "{why}", {"why": str(error)}) from error


PictureUrl: TypeAlias = Annotated[str, Field(max_length=_LONGEST_URL), AfterValidator(_looked_at)]
FileReference: TypeAlias = Annotated[str, Field(max_length=64)]
Filename: TypeAlias = Annotated[str, Field(max_length=255)]
FileData: TypeAlias = Annotated[str, Field(max_length=_LONGEST_DATA)]


class ImagePart(RequestBody):
    """A picture for models that take them: in the request itself, as a data URL."""

    type: Literal["input_image"]
    image_url: PictureUrl | None = None
    file_id: str | None = None
    detail: Detail = "auto"

    @field_validator("file_id")
    @classmethod
    def _refused(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _refuse(value, info)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.image_url is None:
            raise PydanticCustomError("no_image", "There is no picture: give it in 'image_url'.")
        return self


class FilePart(RequestBody):
    """A file: a document of the vault, shown as far as whoever asks may search it, or one that comes with the request.

    Of one that comes with it the text alone is kept, and takes the place of its content: see ``with_texts``.
    """

    type: Literal["input_file"]
    file_id: FileReference | None = None
    filename: Filename | None = None
    file_data: FileData | None = None
    file_url: str | None = None
    text: LongText | None = None

    @field_validator("file_url")
    @classmethod
    def _refused(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _refuse(value, info)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if [self.file_id, self.file_data, self.text].count(None) != 2:
            raise PydanticCustomError("no_file", NO_FILE)
        return self

    def document_id(self, param: str) -> UUID | None:
        """The document; None for what came with the request.

        Args:
            param: The request field that holds it.

        Raises:
            NotFoundError: When its id can be none's.
        """
        if self.file_id is None:
            return None
        return require_id(DOCUMENT_PREFIX, "file", self.file_id, param)

    def given(self, param: str) -> GivenFile | None:
        """What has to be read; None where nothing has.

        Args:
            param: The part of the request that it is.
        """
        return None if self.file_data is None else GivenFile(self.file_data, self.filename, param)

    def with_text(self, text: str) -> "FilePart":
        """It, with its text in the place of its content."""
        return self.model_copy(update={"text": text, "file_data": None})


MessagePart: TypeAlias = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]
MessageContent: TypeAlias = LongText | Annotated[list[MessagePart], Field(max_length=100)]
"""What a message of a response's input says, and shows."""


def _refuse(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None:
        raise PydanticCustomError("not_taken", "{why}", {"why": _REFUSALS[str(info.field_name)]})
    return value

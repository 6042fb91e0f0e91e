"""Pictures and documents in messages. What would have to be fetched from an address is refused."""

from typing import Annotated, Final, Literal, Self, TypeAlias
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from undercroft.chat.providers.images import Detail, read_image
from undercroft.http.openai.inputs import LongText, TextPart
from undercroft.http.wire import RequestBody, require_id
from undercroft.vault.models import DOCUMENT_PREFIX

_LONGEST_URL: Final = 4 * 1024 * 1024
_REFUSALS: Final = {
    "file_id": "The vault keeps no pictures. Give it as a data URL, in 'image_url'.",
    "file_url": "Files are not fetched from addresses. Upload it, and give its 'file_id'.",
    "file_data": "Upload it to /v1/files, add it to a vector store, and give its 'file_id'.",
}


class ImagePart(RequestBody):
    """A picture for models that take them: in the request itself, as a data URL."""

    type: Literal["input_image"]
    image_url: Annotated[str, Field(max_length=_LONGEST_URL)] | None = None
    file_id: str | None = None
    detail: Detail = "auto"

    @field_validator("image_url")
    @classmethod
    def _looked_at(cls, url: str | None) -> str | None:
        """With the type that its content has, whatever was said of it."""
        if url is None:
            return None
        try:
            return read_image(url).url
        except ValueError as error:
            raise PydanticCustomError("invalid_image", "{why}", {"why": str(error)}) from error

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
    """A document of the vault: its text is shown to the model as far as whoever asks may search it."""

    type: Literal["input_file"]
    file_id: Annotated[str, Field(max_length=64)] | None = None
    filename: Annotated[str, Field(max_length=255)] | None = None
    file_data: str | None = None
    file_url: str | None = None

    @field_validator("file_data", "file_url")
    @classmethod
    def _refused(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _refuse(value, info)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.file_id is None:
            raise PydanticCustomError("no_file", "There is no file: give its id in 'file_id'.")
        return self

    def document_id(self) -> UUID:
        """The document.

        Raises:
            NotFoundError: When its id can be none's.
        """
        return require_id(DOCUMENT_PREFIX, "file", self.file_id or "", "input")


MessagePart: TypeAlias = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]
MessageContent: TypeAlias = LongText | Annotated[list[MessagePart], Field(max_length=100)]
"""What a message of a response's input says, and shows."""


def _refuse(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None:
        raise PydanticCustomError("not_taken", "{why}", {"why": _REFUSALS[str(info.field_name)]})
    return value

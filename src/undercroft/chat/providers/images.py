"""Pictures among what a model is told, told by their first bytes and never decoded here. Pure.

A picture is handed on as it came: decoding one is where libraries break. What is looked at is its magic and the size
that its header gives, so that none is handed on that would fill the memory of whoever decodes it.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

Detail: TypeAlias = Literal["low", "high", "auto"]

MOST_IMAGES: Final = 20
LONGEST_SIDE: Final = 8_000
IMAGE_TOKENS: Final = 1_600
"""What one takes of a prompt, at most, as the servers count that say so."""

_PREFIX: Final = "data:"
_MARK: Final = ";base64,"
_LONGEST_HEAD: Final = 100
_SOFS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Segments of a JPEG file that give its size."""
_BARE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers of a JPEG file without a length."""
_MOST_SEGMENTS: Final = 1_000
"""How many steps are taken to where a JPEG file's size is: a file of nothing else has millions of them."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message.

    Attributes:
        media_type: What it is by its content.
        data: In base64.
        detail: How closely the model is to look.
        at: Before which character of the message's text it stands.
    """

    media_type: str
    data: str
    detail: Detail = "auto"
    at: int = 0

    @property
    def url(self) -> str:
        """It, as a data URL."""
        return f"{_PREFIX}{self.media_type}{_MARK}{self.data}"


def read_image(url: str) -> Image:
    """A picture from a data URL.

    Raises:
        ValueError: When it is an address, which nobody follows here, or no picture that models take; it says which.
    """
    if not url.lower().startswith(_PREFIX):
        raise ValueError(
            "Pictures are not fetched from addresses. Give the picture itself, as a data URL: "
            "'data:image/png;base64,…'."
        )
    head, mark, data = url.partition(_MARK)
    if not mark or len(head) > _LONGEST_HEAD:
        raise ValueError("A picture's data URL is 'data:', its type, ';base64,' and base64.")
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError("The picture is no base64.") from error
    found = _measure(content)
    if found is None:
        raise ValueError("That is no PNG, JPEG, GIF or WebP picture, by its first bytes.")
    media_type, width, height = found
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
        raise ValueError(
            f"The picture is {width} by {height}: at most {LONGEST_SIDE} a side are taken."
        )
    return Image(media_type, data)


def image_of(part: Mapping[str, Any], at: int) -> Image:
    """A picture from a part that was looked at when it was given."""
    head, _, data = part["image_url"].partition(_MARK)
    return Image(head.removeprefix(_PREFIX), data, part["detail"], at)


def images_in(parts: Sequence[Mapping[str, Any]]) -> tuple[Image, ...]:
    """The pictures of a message's parts, each where it stands in the text."""
    images: list[Image] = []
    at = 0
    for part in parts:
        if part["type"] == "input_image":
            images.append(image_of(part, at))
        if part["type"] != "input_file":
            at += len(part.get("text") or "")
    return tuple(images)


def moved(images: Sequence[Image], by: int) -> tuple[Image, ...]:
    """Pictures of a text that stands so many characters further on."""
    return tuple(replace(image, at=image.at + by) for image in images)


def in_their_places(text: str, images: Sequence[Image]) -> Iterator[str | Image]:
    """A message's text with its pictures where they stand; no empty text."""
    begin = 0
    for image in sorted(images, key=lambda each: each.at):
        if text[begin : image.at]:
            yield text[begin : image.at]
        begin = max(begin, image.at)
        yield image
    if text[begin:]:
        yield text[begin:]


def _measure(content: bytes) -> tuple[str, int, int] | None:
    """What a picture is, and how wide and high its header says; None where it is none."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
            return ("image/png", *struct.unpack_from(">II", content, 16))
        if content[:6] in {b"GIF87a", b"GIF89a"}:
            return ("image/gif", *struct.unpack_from("<HH", content, 6))
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            size = _measure_webp(content)
            return None if size is None else ("image/webp", *size)
        if content.startswith(b"\xff\xd8\xff"):
            size = _measure_jpeg(content)
            return None if size is None else ("image/jpeg", *size)
    except (struct.error, IndexError):
        pass
    return None


def _measure_webp(content: bytes) -> tuple[int, int] | None:
    match content[12:16]:
        case b"VP8 " if content[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L" if content[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", content, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            wide, wider, high, higher = struct.unpack_from("<HBHB", content, 24)
            return (wider << 16 | wide) + 1, (higher << 16 | high) + 1
        case _:
            return None


def _measure_jpeg(content: bytes) -> tuple[int, int] | None:
    """The size is in whichever segment begins a frame: those before it are passed over by their lengths."""
    place = 2
    for _ in range(_MOST_SEGMENTS):
        if content[place] != 0xFF:
            return None
        marker = content[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _BARE:
            place += 2
        elif marker in _SOFS:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", content, place + 2)
            if length < 2:
                return None
            place += 2 + length
    return None

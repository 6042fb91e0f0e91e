"""Pictures: told by their content, bounded by their headers, never decoded, and sent in the words of each API."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chat.providers.conftest import MakeUpstream, answer, ask
from tests.chat.providers.pictures import (
    PNG,
    extended,
    gif,
    jpeg,
    lossless,
    lossy,
    picture,
    png,
)
from tests.servers.model_server import ModelServer
from undercroft.chat.providers.anthropic import AnthropicProvider
from undercroft.chat.providers.images import LONGEST_SIDE, Image, in_their_places, read_image
from undercroft.chat.providers.protocol import GenerationRequest, Message, Role
from undercroft.chat.providers.registry import ModelRegistry, UnableError

MAKERS = {
    png: "image/png",
    gif: "image/gif",
    jpeg: "image/jpeg",
    lossy: "image/webp",
    lossless: "image/webp",
    extended: "image/webp",
}


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_what_its_content_says(make: Callable[..., bytes]) -> None:
    content = make(640, 480)
    assert read_image(picture(content, "text/html")).media_type == MAKERS[make]
    for width, height in ((LONGEST_SIDE + 1, 1), (1, LONGEST_SIDE + 1)):
        with pytest.raises(ValueError, match=f"{width} by {height}"):
            read_image(picture(make(width, height), "image/png"))
    # However little of it there is.
    for end in range(len(content)):
        with pytest.raises(ValueError, match=r"by its first bytes|no base64"):
            read_image(picture(content[:end], "image/png"))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "file:///etc/passwd",
        "data:image/png,abc",
        "data:image/png;base64,###",
        picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png"),
        picture(png(0, 1), "image/png"),
        # Segments that lead nowhere, and one that would lead back.
        picture(b"\xff\xd8\xff\xe1\0\0" * 9, "image/jpeg"),
        picture(b"\xff\xd8\xff" + b"\xff" * 999, "image/jpeg"),
    ],
)
def test_what_is_no_picture_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"[pP]icture"):
        read_image(url)


@pytest.mark.parametrize("step", [b"\xff", b"\xff\xd8", b"\xff\xe0\0\x02"])
def test_no_picture_of_a_million_segments_is_walked_through(step: bytes) -> None:
    # Looked at on the event loop: the size behind all of that is never reached.
    frame = jpeg(640, 480).removeprefix(b"\xff\xd8")
    read_image(picture(b"\xff\xd8" + step * 100 + frame, "image/jpeg"))
    with pytest.raises(ValueError, match="by its first bytes"):
        read_image(picture(b"\xff\xd8" + step * 500_000 + frame, "image/jpeg"))


def test_pictures_stand_where_they_stood() -> None:
    first, second = Image("image/png", "YQ==", at=2), Image("image/png", "Yg==", at=2)
    last = Image("image/png", "Yw==", at=4)
    assert list(in_their_places("ABCD", [last, first, second])) == ["AB", first, second, "CD", last]
    assert list(in_their_places("", [first])) == [first]


def seeing(request: GenerationRequest) -> GenerationRequest:
    image = replace(read_image(picture(PNG, "image/png")), detail="high", at=6)
    return replace(request, messages=(Message(Role.USER, "Look: there", images=(image,)),))


async def test_each_api_is_sent_it_in_its_words(
    model_server: ModelServer, anthropic_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    request = seeing(ask("echo", ""))
    url = picture(PNG, "image/png")
    await answer(make_upstream(model_server.base_url), request)
    (sent,) = (await model_server.seen()).last_body["messages"]
    assert sent["content"] == [
        {"type": "text", "text": "Look: "},
        {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
        {"type": "text", "text": "there"},
    ]

    await answer(make_upstream(anthropic_server.base_url, api=AnthropicProvider), request)
    (sent,) = (await anthropic_server.seen()).last_body["messages"]
    data = url.partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    assert sent["content"] == [
        {"type": "text", "text": "Look: "},
        {"type": "image", "source": source},
        {"type": "text", "text": "there"},
    ]


async def test_who_is_not_said_to_see_is_sent_none(
    model_server: ModelServer, make_upstream: MakeUpstream
) -> None:
    registry = ModelRegistry([make_upstream(model_server.base_url)], default_model="echo")
    with pytest.raises(UnableError, match="input_image"):
        async for _ in registry.generate(seeing(ask("echo", ""))):
            pass

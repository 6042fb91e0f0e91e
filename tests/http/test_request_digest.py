"""What makes two requests the same: what they say, however it is spelt."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, File, Form, Header, UploadFile
from fastapi.routing import APIRoute
from starlette.types import Message

from tests.http.asgi import scope
from undercroft.http.json_bodies import StrictRequest
from undercroft.http.request_digest import digest_request

router = APIRouter()


@router.post("/v1/things/{thing}")
async def act(thing: str, lock_token: str | None = Header(None)) -> str:
    return f"{thing} {lock_token}"


@router.post("/v1/uploads/{thing}")
async def upload(
    thing: str, file: Annotated[UploadFile, File()], purpose: Annotated[str, Form()]
) -> str:
    return f"{thing} {file.filename} {purpose}"


async def digest(
    body: bytes = b"",
    media_type: str = "application/json",
    *,
    thing: str = "a",
    query: bytes = b"",
    purpose: str | None = None,
    takes_form: bool = False,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", media_type.encode()), *more]
    request = StrictRequest(
        scope(
            f"/v1/things/{thing}",
            "POST",
            headers=headers,
            query_string=query,
            path_params={"thing": thing},
        ),
        receive,
    )
    route = router.routes[takes_form]
    assert isinstance(route, APIRoute)
    try:
        return await digest_request(route, request, purpose)
    finally:
        await request.close()


def form(boundary: str, content: str = "text", *, turned: bool = False) -> tuple[bytes, str]:
    named = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
    parts = [
        'Content-Disposition: form-data; name="purpose"\r\n\r\nassistants',
        f"{named}\r\nContent-Type: text/plain\r\n\r\n{content}",
    ]
    ordered = reversed(parts) if turned else parts
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in ordered)
    return f"{body}--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


async def test_json_is_the_same_whatever_its_spaces_and_order() -> None:
    same = [
        b'{"a": 1, "b": ["\xc3\xbc", null]}',
        b'{"b":["\\u00fc",null],"a":1}',
        b' {\n"a" : 1,"b": ["\xc3\xbc", null]}\n',
    ]
    assert len({await digest(body) for body in same}) == 1
    other = [
        b'{"a": 1, "b": [null, "\xc3\xbc"]}',
        b'{"a": "1", "b": ["\xc3\xbc", null]}',
        b"{}",
        b"",
    ]
    assert len({await digest(body) for body in [same[0], *other]}) == 5


async def test_a_form_is_the_same_whatever_its_boundary_and_order() -> None:
    one = await digest(*form("one"), takes_form=True)
    assert one == await digest(*form("two"), takes_form=True)
    assert one == await digest(*form("three", turned=True), takes_form=True)
    assert one != await digest(*form("one", "other text"), takes_form=True)


async def test_no_form_is_read_where_the_route_takes_none() -> None:
    """The framework's parser would decode each field in whatever encoding the request names."""
    body, media_type = form("one", "\\u1")
    hostile = f"{media_type}; charset=unicode_escape"
    assert await digest(body, hostile) == await digest(body, media_type)
    assert await digest(body, media_type) != await digest(*form("two", "\\u1"))


@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/json"])
async def test_what_is_no_form_is_not_read_where_the_route_takes_one(media_type: str) -> None:
    assert await digest(b"a=1", media_type, takes_form=True) == await digest(
        b"b" * 100, media_type, takes_form=True
    )


async def test_a_form_without_boundaries_is_the_same_whatever_its_order_and_escapes() -> None:
    media_type = "application/x-www-form-urlencoded"
    one = await digest(b"purpose=a&file=%C3%BC+b", media_type, takes_form=True)
    assert one == await digest(b"file=%c3%bc%20b&purpose=%61", media_type, takes_form=True)
    for other in (b"purpose=b&file=%C3%BC+b", b"purpose=a", b""):
        assert one != await digest(other, media_type, takes_form=True)


@pytest.mark.parametrize(
    "other",
    [
        {"thing": "b"},
        {"query": b"limit=1"},
        {"purpose": "audit"},
        {"more": [(b"lock-token", b"lock_1")]},
        {"media_type": "application/x-www-form-urlencoded"},
    ],
    ids=["path", "query", "purpose", "header", "media type"],
)
async def test_all_that_a_request_says_counts(other: dict[str, Any]) -> None:
    assert await digest(b"{}") != await digest(b"{}", **other)


async def test_what_the_route_does_not_read_does_not_count() -> None:
    assert await digest(b"{}") == await digest(b"{}", more=[(b"x-request-id", b"another")])

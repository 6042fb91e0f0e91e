"""Every error has one status and a face's own shape, says what to do, and keeps its cause to itself."""

import asyncio
import errno
import json
from typing import Annotated, Literal

import asyncpg
import httpx2 as httpx
import pytest
from fastapi import APIRouter, FastAPI, Query
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from undercroft.http.errors import as_undercroft_error, install_error_handlers, render_error
from undercroft.http.fields import with_dots
from undercroft.http.wire import Attributes, OnlyFalse, RequestBody, SentValue
from undercroft.kit.errors import (
    STATUS,
    ErrorKind,
    InvalidRequestError,
    NotFoundError,
    UndercroftError,
)
from undercroft.kit.sql import NoRowError
from undercroft.vault.schemas.json_text import parse_json


class Inner(RequestBody):
    count: int = 0


class Body(RequestBody):
    name: str = Field(max_length=5)
    inner: Inner | None = None
    either: str | Annotated[list[Inner], Field(max_length=2)] = ""
    pairs: dict[str, str] = Field(default_factory=dict)
    flag: OnlyFalse = False


class SearchTool(RequestBody):
    kind: Literal["search"]
    stores: list[str]


class NamedFunction(RequestBody):
    name: str


class FunctionTool(RequestBody):
    kind: Literal["function"]
    function: NamedFunction


class Comparison(RequestBody):
    value: SentValue
    attributes: Attributes = Field(default_factory=dict)

    @field_validator("value")
    @classmethod
    def _is_not_refused(cls, value: object) -> object:
        if value == "refused":
            raise PydanticCustomError("refused", "Another one is meant.")
        return value


class Tools(RequestBody):
    tools: list[Annotated[SearchTool | FunctionTool, Field(discriminator="kind")]]


Included = Annotated[list[Literal["a", "b"]] | None, Query(alias="include[]")]


def make_application() -> FastAPI:
    router = APIRouter()

    @router.post("/v1/tools")
    async def take(body: Tools) -> int:
        return len(body.tools)

    @router.post("/v1/comparisons")
    async def compare(body: Comparison) -> str:
        return str(body.value)

    @router.post("/v1/things")
    async def create(body: Body) -> str:
        return body.name

    @router.get("/v1/things/{name}")
    async def get_thing(name: str) -> str:
        return name

    @router.post("/v1/things/merge")
    async def merge_things() -> str:
        return "merged"

    @router.get("/v1/things")
    async def list_things(limit: int = 1, include: Included = None) -> str:
        return f"{limit} {include}"

    @router.get("/v1/broken")
    async def fail() -> None:
        raise RuntimeError("password=hunter2")

    @router.get("/v1/gone")
    async def lose() -> None:
        raise asyncpg.ConnectionDoesNotExistError

    @router.get("/v1/missing")
    async def find() -> None:
        raise NotFoundError("thing", "thing-1")

    application = FastAPI()
    application.include_router(router)
    install_error_handlers(application)
    return application


async def ask(method: str, path: str, body: object = None) -> httpx.Response:
    transport = httpx.ASGITransport(make_application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, json=body)


async def test_a_lost_database_is_answered_within_the_application() -> None:
    """Answered by the framework's last resort, it would be raised again: no request number, a closed connection."""
    transport = httpx.ASGITransport(make_application(), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/v1/gone")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("kind", ErrorKind)
def test_each_kind_reads_on_both_faces(kind: ErrorKind) -> None:
    error = UndercroftError("Do this.", kind=kind, param="field", code="finer", retry_after=3)
    openai = render_error("/v1/files", error)
    assert openai.status_code == STATUS[kind]
    assert openai.headers["Retry-After"] == "3"
    body = json.loads(bytes(openai.body))["error"]
    assert (body["message"], body["param"], body["code"]) == ("Do this.", "field", "finer")
    assert body["type"]

    native = render_error("/healthz", error)
    assert native.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(bytes(native.body))
    assert problem["status"] == STATUS[kind]
    assert problem["type"].endswith(f"#{kind.value}")
    assert ("WWW-Authenticate" in native.headers) is (kind is ErrorKind.UNAUTHENTICATED)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "name", "is missing"),
        ({"name": 5}, "name", "valid string"),
        ({"name": "too long"}, "name", "5 characters"),
        ({"name": "a", "inner": {"count": "5"}}, "inner.count", "valid integer"),
        ({"name": "a", "inner": {"count": True}}, "inner.count", "valid integer"),
        ({"name": "a", "inner": [1]}, "inner", "'inner' should be a JSON object."),
        ({"name": "a", "either": 5}, "either", "valid string"),
        ({"name": "a", "either": [{"count": None}]}, "either.0.count", "valid integer"),
        ({"name": "a", "either": [5]}, "either.0", "JSON object"),
        ({"name": "a", "either": [{}, {}, {}]}, "either", "should have at most 2 items"),
        ({"name": "a", "pairs": 5}, "pairs", "JSON object"),
        ({"name": "a", "flag": True}, "flag", "is not supported yet"),
        ({"name": "a", "flag": 0}, "flag", "valid boolean"),
        ({"name": "a", "surprise": 1}, "surprise", "not a field"),
        ({"name": "a\x00"}, None, "NUL"),
        ([], None, "the body should be a JSON object, sent as application/json."),
    ],
)
async def test_a_bad_body_names_the_field(body: object, param: str | None, words: str) -> None:
    answer = await ask("POST", "/v1/things", body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert words in error["message"]
    assert error["message"].startswith("Invalid request: ")
    assert "pydantic" not in error["message"]


@pytest.mark.parametrize("either", [[{"count": None}], [5], [{}, {}, {}]])
async def test_a_list_is_not_told_that_it_should_be_a_text(either: list[object]) -> None:
    answer = await ask("POST", "/v1/things", {"name": "a", "either": either})
    assert "valid string" not in answer.json()["error"]["message"]


async def test_a_list_in_a_query_is_named_as_one_in_a_body() -> None:
    answer = await ask("GET", "/v1/things?include[]=a&include[]=c")
    error = answer.json()["error"]
    assert error["param"] == "include.1"
    assert error["message"] == "Invalid request: 'include.1' should be 'a' or 'b'."


async def test_a_path_that_takes_other_methods_lists_them_all() -> None:
    answer = await ask("PUT", "/v1/things")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"
    assert answer.json()["error"]["message"] == "This path does not take PUT, only GET, POST."


async def test_a_path_of_its_own_does_not_list_what_ids_in_its_place_take() -> None:
    assert (await ask("PUT", "/v1/things/merge")).headers["Allow"] == "POST"
    assert (await ask("PUT", "/v1/things/another")).headers["Allow"] == "GET"


async def test_a_path_that_does_not_exist_says_where_to_look() -> None:
    answer = await ask("GET", "/v1/nothing")
    assert answer.status_code == 404
    assert "/openapi.json" in answer.json()["error"]["message"]
    assert (await ask("GET", "/v1/missing")).json()["error"]["message"].startswith("No thing with")


async def test_a_defect_is_500_without_its_cause() -> None:
    answer = await ask("GET", "/v1/broken")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("error", "kind", "retries"),
    [
        (asyncpg.QueryCanceledError("x"), ErrorKind.TIMED_OUT, False),
        (TimeoutError(), ErrorKind.TIMED_OUT, False),
        (asyncpg.PostgresConnectionError("x"), ErrorKind.UNAVAILABLE, True),
        (asyncpg.InterfaceError("x"), ErrorKind.UNAVAILABLE, True),
        (asyncpg.AdminShutdownError("x"), ErrorKind.UNAVAILABLE, True),
        (asyncpg.DiskFullError("x"), ErrorKind.UNAVAILABLE, True),
        (OSError(errno.ENOSPC, "x"), ErrorKind.UNAVAILABLE, True),
        (ConnectionResetError(), ErrorKind.UNAVAILABLE, True),
        (asyncpg.SerializationError("x"), ErrorKind.UNAVAILABLE, True),
        (asyncpg.DeadlockDetectedError("x"), ErrorKind.UNAVAILABLE, True),
        (asyncpg.ForeignKeyViolationError("x"), ErrorKind.CONFLICT, False),
        (NoRowError("x"), ErrorKind.CONFLICT, False),
    ],
)
def test_what_fails_below_has_a_caller_s_view(
    error: Exception, kind: ErrorKind, retries: bool
) -> None:
    seen = as_undercroft_error(error)
    assert seen is not None
    assert seen.kind is kind
    assert (seen.retry_after is not None) is retries
    assert "x" not in seen.message.split()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncio.QueueFull(),
        FileNotFoundError(errno.ENOENT, "x"),
    ],
)
def test_a_defect_has_none(error: Exception) -> None:
    assert as_undercroft_error(error) is None


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"kind": "search"}, "tools.0.stores"),
        ({"kind": "search", "stores": [5]}, "tools.0.stores.0"),
        ({"kind": "search", "stores": "x"}, "tools.0.stores"),
        ({"kind": "search", "stores": [], "odd": 1}, "tools.0.odd"),
        ({"kind": "function"}, "tools.0.function"),
        ({"kind": "function", "function": 5}, "tools.0.function"),
        ({"kind": "function", "function": {}}, "tools.0.function.name"),
        ({"kind": "function", "function": {"name": 5}}, "tools.0.function.name"),
        ({"kind": "nothing"}, "tools.0"),
        (5, "tools.0"),
    ],
)
async def test_a_field_is_named_as_it_was_sent_whatever_kind_it_is_of(
    tool: object, param: str
) -> None:
    """Some of these are found by pydantic, which says which kind it tried, and some by services, which do not."""
    answer = await ask("POST", "/v1/tools", {"tools": [tool]})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert f"'{param}'" in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("comparisons", {"value": {}}, "'value' should be a text, a number, true or false."),
        ("comparisons", {"value": None}, "'value' should be a text, a number, true or false."),
        ("comparisons", {"value": "x" * 513}, "'value' should have at most 512 characters."),
        ("comparisons", {"value": "refused"}, "'value' is wrong: Another one is meant."),
        (
            "comparisons",
            {"value": 1, "attributes": {"undercroft.a": 1}},
            "'attributes' has a key that begins with 'undercroft.', which names what every document has.",
        ),
        (
            "things",
            {"name": "a", "either": 5},
            "'either' should be a valid string or should be a valid list.",
        ),
        ("tools", {"tools": [{}]}, "'tools.0' has no 'kind'."),
        (
            "tools",
            {"tools": [{"kind": "x"}]},
            "'tools.0' has a 'kind' that is not known here; there are 'search', 'function'.",
        ),
    ],
)
async def test_a_bad_body_is_told_in_one_sentence(path: str, body: object, message: str) -> None:
    answer = await ask("POST", f"/v1/{path}", body)
    assert answer.json()["error"]["message"] == f"Invalid request: {message}"


@pytest.mark.parametrize(
    ("text", "param", "message"),
    [
        (
            '{"filters": [{"value": 9007199254740993}]}',
            "filters.0.value",
            "'filters.0.value' is an integer",
        ),
        ('{"query": "\\u0000"}', "query", "'query' contains a NUL character."),
        ('{"what was sent": "\\u0000"}', None, "contains a NUL character."),
        ('{"/a": 1, "/a": 2}', "/a", "'/a' twice"),
        ("{", None, "malformed"),
    ],
)
def test_what_is_wrong_with_the_json_itself_names_the_field_alike(
    text: str, param: str | None, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_json(text)
    told = with_dots(refused.value)
    assert told.param == param
    assert message in told.message
    assert told.code == refused.value.code

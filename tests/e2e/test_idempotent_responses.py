"""A response that is asked for again under one key, with the unmodified `openai` SDK and over HTTP."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx2 as httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.api import connect
from tests.e2e.conftest import Service
from tests.servers.model_server import ModelServer

pytestmark = pytest.mark.usefixtures("model_server")

AT_ONCE: Final = 50
ASKED: Final[dict[str, Any]] = {"model": "echo", "input": "Where is the harbour?"}


def keyed() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def key_of(answer: httpx.Response) -> object:
    return answer.json()["id"]


def events_of(answer: httpx.Response) -> list[str]:
    return [line for line in answer.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("stream", [False, True])
async def test_fifty_at_once_are_one_response(
    upstream_service: Service, model_server: ModelServer, stream: bool
) -> None:
    headers = keyed()

    def send(_: int) -> httpx.Response:
        while True:
            answer = client.post("/v1/responses", json={**ASKED, "stream": stream}, headers=headers)
            if answer.status_code not in {409, 503}:
                return answer
            assert "Retry-After" in answer.headers

    with (
        connect(upstream_service.url, upstream_service.key) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        answers = list(pool.map(send, range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {200}
    told = [events_of(answer) if stream else key_of(answer) for answer in answers]
    assert all(each == told[0] for each in told)
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert (await model_server.seen()).requests == 1


async def test_a_lost_stream_is_asked_for_again_and_is_the_same(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    headers = keyed()
    body: Any = {"model": "held", "input": "Where is it?", "stream": True}
    create: Any = sdk.responses.create
    first = aiter(await create(**body, extra_headers=headers))
    begun: list[Any] = [await anext(first)]
    second = aiter(await create(**body, extra_headers=headers))
    again: list[Any] = [await anext(second)]
    await model_server.release()
    begun += [event async for event in first]
    again += [event async for event in second]
    assert again == begun
    assert again[-1].response.output_text == "first second"
    assert (await model_server.seen()).requests == 1
    late = await create(**body, extra_headers=headers)
    assert [event async for event in late] == begun


async def test_what_is_made_in_the_background_is_told_as_it_is(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    headers = keyed()
    first = await sdk.responses.create(
        model="held", input="Where is it?", background=True, extra_headers=headers
    )
    again = await sdk.responses.create(
        model="held", input="Where is it?", background=True, extra_headers=headers
    )
    assert (again.id, again.status) == (first.id, "in_progress")
    await model_server.release()


async def test_a_key_is_of_one_request_and_of_what_is_kept(sdk: AsyncOpenAI) -> None:
    headers = keyed()
    create: Any = sdk.responses.create
    made = await create(**ASKED, extra_headers=headers)
    for other in ({"input": "And the bell?"}, {"temperature": 0.5}):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            await create(**{**ASKED, **other}, extra_headers=headers)
        assert refused.value.code == "idempotency_key_reused"
    with pytest.raises(openai.BadRequestError) as refused:
        await create(**ASKED, store=False, extra_headers=keyed())
    assert refused.value.code == "idempotency_key_not_taken"
    await sdk.responses.delete(made.id)
    with pytest.raises(openai.APIStatusError) as refused:
        await create(**ASKED, extra_headers=headers)
    assert (refused.value.status_code, refused.value.code) == (410, "answer_erased")

"""An answer that is being streamed ends with what it rests on; told over HTTP, and shown with the grant."""

from collections.abc import Callable
from typing import Any

import httpx2 as httpx

from tests.e2e.api import connect, read_events
from tests.e2e.conftest import Service

TENANT = "quarry"
ADMIN = "ann@quarry.example"
TEXT = b"The quarry gate is locked with the iron key from the pantry."


def streamed(
    reader: httpx.Client, store: str, when_begun: Callable[[], httpx.Response]
) -> list[dict[str, Any]]:
    """The events of an answer that never ends by itself, and of which something is done once it has begun."""
    body = {
        "model": "stall",
        "input": "With which key is the quarry gate locked?",
        "tools": [{"type": "file_search", "vector_store_ids": [store]}],
        "stream": True,
    }
    events: list[dict[str, Any]] = []
    with reader.stream("POST", "/v1/responses", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        for event in read_events(answer.iter_lines()):
            events.append(event)
            if event["type"] == "response.output_text.delta":
                done = when_begun()
                assert done.is_success, done.text
    return events


def test_a_running_answer_is_cut_by_whatever_it_rests_on(upstream_service: Service) -> None:
    key = upstream_service.make_key(TENANT, ADMIN, "admin")
    with connect(upstream_service.url, key) as ann, upstream_service.client(key) as sdk:
        store = sdk.vector_stores.create(name="Quarry").id
        kept = sdk.vector_stores.files.upload_and_poll(
            vector_store_id=store, file=("gate.txt", TEXT)
        )
        assert kept.status == "completed"

        def read_by(
            user: str, end: Callable[[str, str], httpx.Response], **terms: int
        ) -> dict[str, Any]:
            """Grant the store, have an answer streamed, end it, and look at the grant."""
            with connect(upstream_service.url, upstream_service.make_key(TENANT, user)) as reader:
                body = {"resource": store, "grantee": {"user": user}, "actions": ["search"]}
                grant = ann.post("/v1/grants", json=body | terms).json()
                user_id = grant["grantee"]["user"]
                events = streamed(reader, store, lambda: end(grant["id"], user_id))
                error, last = events[-2:]
                assert (error["type"], error["code"]) == ("error", "access_revoked")
                assert last["response"]["status"] == "failed"
            shown: dict[str, Any] = ann.get(f"/v1/grants/{grant['id']}").json()
            return shown

        used_up = read_by(
            "bob@quarry.example", lambda grant, _: ann.delete(f"/v1/grants/{grant}"), max_uses=1
        )
        assert (used_up["ending"], used_up["cut_at"] is not None) == ("used_up", True)
        suspended = read_by(
            "cem@quarry.example", lambda _, user: ann.post(f"/v1/users/{user}/suspend")
        )
        taken_out = read_by(
            "dee@quarry.example",
            lambda _, __: ann.delete(f"/v1/vector_stores/{store}/files/{kept.id}"),
        )
        for grant in (suspended, taken_out):
            assert (grant["ending"], grant["cut_at"]) == (None, None)

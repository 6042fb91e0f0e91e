"""The clients that people bring from npm, against a running service: what they print is judged here."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import REQUIRE_PROGRAMS
from tests.e2e.api import connect
from tests.e2e.conftest import Service, running_service
from tests.servers.model_server import KEY, ModelServer

NODE: Final = Path(__file__).parents[1] / "node"
_SECONDS: Final = 240

QUESTION: Final = "When does the fog bell ring?"
TEXT: Final = "The fog bell rings at six."
TOOLS: Final = [
    {"type": "function", "name": name, "parameters": {"type": "object"}}
    for name in ("weather", "tides")
]

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def clients() -> Path:
    """The folder of the scripts, whose packages are installed."""
    wanted = (NODE / "package-lock.json").read_bytes()
    installed = NODE / "node_modules" / "installed.json"
    has_all = installed.exists() and installed.read_bytes() == wanted
    if shutil.which("node") is None or not has_all:
        reason = "needs node and the packages of tests/node, which .ci/run installs"
        (pytest.fail if os.environ.get(REQUIRE_PROGRAMS) else pytest.skip)(reason)
    return NODE


@pytest.fixture(scope="module")
def ui_service(
    upstream: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Service]:
    """A service with a model server behind it, to whose streams people come back."""
    yield from running_service(
        tmp_path_factory.mktemp("ui") / "data",
        {
            "UNDERCROFT_UPSTREAM_URL": upstream.base_url,
            "UNDERCROFT_UPSTREAM_KEY": KEY,
            "UNDERCROFT_RESPONSE_GRACE_SECONDS": "60",
        },
    )


@pytest.fixture
def run(clients: Path, ui_service: Service, model_server: ModelServer) -> Run:
    """Runs a scenario of a script, and gives what it saw."""

    def run_scenario(script: str, scenario: str, **settings: object) -> Any:  # noqa: ANN401 - JSON
        told = {
            "scenario": scenario,
            "url": ui_service.url,
            "key": ui_service.key,
            "control": f"http://127.0.0.1:{model_server.port}/control",
            **settings,
        }
        finished = subprocess.run(
            ["node", clients / f"{script}.mjs"],
            input=json.dumps(told),
            env={
                **os.environ,
                "OPENAI_BASE_URL": f"{ui_service.url}/v1",
                "OPENAI_API_KEY": ui_service.key,
            },
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr[-6000:]
        return json.loads(finished.stdout)

    return run_scenario


@pytest.fixture(scope="module")
def store(ui_service: Service) -> str:
    """A vector store of the main user's that says when the bell rings."""
    with ui_service.client() as client:
        made = client.vector_stores.create(name="Bell")
        kept = client.vector_stores.files.upload_and_poll(
            vector_store_id=made.id, file=("bell.txt", TEXT.encode())
        )
        assert kept.status == "completed"
        return made.id


def searching(store: str, model: str) -> dict[str, Any]:
    """What a page sends beside its messages so that it is answered from a store."""
    return {"model": model, "tools": [{"type": "file_search", "vector_store_ids": [store]}]}


def chunks_of(seen: dict[str, Any]) -> list[dict[str, Any]]:
    """What came over the wire, in its order."""
    return [json.loads(chunk) for chunk in seen["chunks"] if chunk != "[DONE]"]


def texts_of(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who said what."""
    return [
        (message["role"], "".join(part.get("text", "") for part in message["parts"]))
        for message in messages
    ]


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's parts, without what JSON leaves out of them."""
    return [
        {name: value for name, value in part.items() if value is not None}
        for part in message["parts"]
    ]


def test_a_page_shows_an_answer_with_its_sources(run: Run, store: str) -> None:
    body = searching(store, "extractive")
    seen = run("use_chat", "send", chat="sources", text=QUESTION, body=body)
    assert (seen["status"], seen["errors"]) == ("ready", [])
    (request,) = seen["requests"]
    assert (request["status"], request["header"]) == (200, "v1")
    assert seen["chunks"][-1] == "[DONE]"
    kinds = [chunk["type"] for chunk in chunks_of(seen)]
    assert kinds[:5] == [
        *("start", "start-step", "tool-input-start"),
        *("tool-input-available", "tool-output-available"),
    ]
    assert kinds[-2:] == ["finish-step", "finish"]
    asked, answered = seen["messages"]
    assert answered["id"].startswith("resp_")
    assert answered["metadata"]["model"] == "extractive"
    (search,) = [part for part in answered["parts"] if part["type"] == "tool-file_search"]
    assert (search["state"], search["providerExecuted"]) == ("output-available", True)
    assert search["input"] == {"queries": [QUESTION]}
    (source,) = [part for part in answered["parts"] if part["type"] == "source-document"]
    assert (source["filename"], source["mediaType"]) == ("bell.txt", "text/plain")
    assert source["providerMetadata"]["undercroft"]["quote"] == TEXT
    # A page that is opened later shows the same, under the same name.
    kept_question, kept_answer = seen["kept"]
    assert texts_of([kept_question]) == texts_of([asked])
    assert (kept_answer["id"], parts_of(kept_answer)) == (answered["id"], parts_of(answered))


@pytest.mark.parametrize(
    ("parts", "body", "param"),
    [
        ([{"type": "text", "text": " "}], {}, "messages"),
        ([{"type": "file", "mediaType": "image/png", "url": "data:,"}], {}, "messages.0.parts.0"),
        ([{"type": "text", "text": "Hello"}], {"model": "absent"}, "model"),
        ([{"type": "text", "text": "Hello"}], {"maxTokens": 1}, "maxTokens"),
        ([{"type": "text", "text": "Hello"}], {"temperature": 3}, "temperature"),
    ],
)
def test_a_page_is_refused_by_name(
    run: Run, parts: list[dict[str, str]], body: dict[str, Any], param: str
) -> None:
    seen = run("use_chat", "refused", chat="refused", parts=parts, body=body)
    (error,) = seen["errors"]
    assert seen["status"] == "error"
    assert str(json.loads(error)["error"]["param"]).startswith(param)
    assert seen["kept"] == []


def test_a_page_that_is_loaded_again_goes_on_reading(run: Run) -> None:
    seen = run("use_chat", "reload", chat="reload")
    before, after, late = seen["before"], seen["after"], seen["late"]
    assert texts_of(seen["messages"]) == [("user", "Hello?")]
    # From the first chunk on and without a gap: what was seen before is how it begins.
    assert after["chunks"][: len(before["chunks"])] == before["chunks"]
    assert [chunk["type"] for chunk in chunks_of(after)] == [
        *("start", "start-step", "text-start", "text-delta"),
        *("text-delta", "text-end", "finish-step", "finish"),
    ]
    assert texts_of(after["messages"]) == [("user", "Hello?"), ("assistant", "first second")]
    assert after["messages"][1]["id"] == before["messages"][1]["id"]
    assert seen["idle"] == {"status": 204, "body": ""}
    assert [request["status"] for request in late["requests"]] == [204]
    assert (late["errors"], texts_of(late["messages"])) == ([], texts_of(after["messages"]))


def test_two_tabs_show_one_answer(run: Run) -> None:
    seen = run("use_chat", "tabs", chat="tabs")
    one, other = seen["one"], seen["other"]
    assert other["chunks"][: len(one["chunks"])] == one["chunks"]
    said = [("user", "Hello?"), ("assistant", "first second"), ("user", "echo")]
    assert texts_of(other["messages"]) == [*said, ("assistant", "echo")]
    assert texts_of(seen["kept"]) == texts_of(other["messages"])
    assert other["messages"][1]["id"] == one["messages"][1]["id"] == seen["kept"][1]["id"]


def test_an_answer_to_another_is_neither_resumed_nor_stopped(run: Run, ui_service: Service) -> None:
    eve = "eve@example.org"
    reader = ui_service.make_key("main", eve)
    with connect(ui_service.url, ui_service.key) as ann:
        chat = ann.post("/v1/conversations", json={}).json()["id"]
        for action in ("read", "write"):
            terms = {"resource": chat, "grantee": {"user": eve}, "actions": [action]}
            assert ann.post("/v1/grants", json=terms).is_success
    seen = run("use_chat", "shared", chat=chat, reader=reader)
    assert (seen["resumed"]["status"], seen["stopped"]["status"]) == (204, 204)
    said = [("user", "Hello?"), ("assistant", "first second")]
    assert texts_of(seen["messages"]) == texts_of(seen["kept"]) == said


def test_an_answer_is_stopped_and_kept_as_it_is(run: Run, ui_service: Service) -> None:
    seen = run("use_chat", "stop", chat="stop")
    assert (seen["stopped"]["status"], seen["again"]["status"]) == (204, 204)
    assert seen["errors"] == []
    kinds = [chunk["type"] for chunk in chunks_of(seen)]
    assert kinds[: kinds.index("abort") + 1][-3:] == ["text-end", "finish-step", "abort"]
    assert [text for _, text in texts_of(seen["kept"])] == ["Hello?", "first ", "Go on.", "Go on."]
    assert texts_of(seen["messages"]) == texts_of(seen["kept"])
    # A page of three items begins within a message, which is left out.
    with connect(ui_service.url, ui_service.key) as ann:
        newest = ann.get("/v1/ui/chat/stop/messages", params={"limit": 3}).json()
        assert (newest["data"], newest["has_more"]) == (seen["kept"][2:], True)
        (last,) = ann.get("/v1/ui/chat/stop/messages", params={"limit": 1}).json()["data"]
        assert last == seen["kept"][3]


def test_what_is_said_or_answered_anew_is_a_branch(
    run: Run, ui_service: Service, model_server: ModelServer
) -> None:
    del model_server
    seen = run("use_chat", "branches", chat="branches")
    assert seen["errors"] == []
    # The page and the service show the same after each step.
    for page, kept in seen["states"]:
        assert page == kept
    shown = [[text for role, text in page if role == "user"] for page, _ in seen["states"]]
    assert shown == [
        ["one", "two"],
        ["one", "two"],
        ["one", "two, edited"],
        ["one", "two, edited", "three"],
        ["one"],
        ["edited"],
    ]
    # None of it is lost: each is the others' sibling.
    with connect(ui_service.url, ui_service.key) as ann:
        first = ann.get("/v1/ui/chat/branches/messages").json()["data"][0]["id"]
        answer = ann.get(f"/v1/responses/{seen['answer']}").json()
        items = f"/v1/conversations/{answer['conversation']['id']}/items"
        roots = ann.get(items, params={"siblings_of": first, "order": "asc"}).json()["data"]
        assert [each["content"][0]["text"] for each in roots] == ["one", "one", "one", "edited"]
        (asked,) = ann.get(f"/v1/responses/{seen['answer']}/input_items").json()["data"]
        anew = ann.get(items, params={"siblings_of": asked["id"], "order": "asc"}).json()["data"]
        words = ["two", "two", "two, edited", "two, edited"]
        assert [each["content"][0]["text"] for each in anew] == words
        # An answer is known by its item's id, too, as the items of the conversation have it.
        said = {"id": "a", "role": "user", "parts": [{"type": "text", "text": "two again"}]}
        named = {"id": "branches", "messageId": answer["output"][0]["id"], "model": "echo"}
        body = {**named, "messages": [said], "trigger": "regenerate-message"}
        assert ann.post("/v1/ui/chat", json=body).is_success
        anew = ann.get(items, params={"siblings_of": asked["id"], "order": "asc"}).json()["data"]
        assert [each["content"][0]["text"] for each in anew] == [*words, "two again"]


def test_a_message_that_is_sent_twice_is_answered_once(run: Run) -> None:
    seen = run("use_chat", "twice", chat="twice")
    assert seen["copy"] == seen["chunks"]
    assert seen["replayed"] == "true"
    assert [request["replayed"] for request in seen["requests"]] == [None]
    assert texts_of(seen["kept"]) == [("user", "Hello?"), ("assistant", "first second")]
    assert seen["misused"]["status"] == 422
    assert seen["misused"]["body"]["error"]["code"] == "idempotency_key_reused"


def test_a_page_makes_the_calls_that_it_is_asked_for(run: Run) -> None:
    seen = run("use_chat", "tools", chat="tools", tools=TOOLS)
    assert seen["errors"] == []
    _, answered = seen["messages"]
    weather, tides = [part for part in answered["parts"] if part["type"].startswith("tool-")]
    assert weather["input"] == {"asked": "What is the weather like?"}
    assert (weather["state"], tides["state"]) == ("output-available", "output-error")
    assert answered["parts"][-1]["text"].endswith('"sky": "blue"}, no tides today')
    # Both steps are one message of the assistant's, live and later.
    _, kept = seen["kept"]
    assert kept["id"] == answered["id"]
    assert texts_of([kept]) == texts_of([answered])
    kinds = [part["type"] for part in answered["parts"]]
    assert [part["type"] for part in kept["parts"]] == kinds
    assert kinds == ["step-start", "text", "tool-weather", "tool-tides", "step-start", "text"]
    results = [part["output"] for part in kept["parts"] if part["type"].startswith("tool-")]
    assert [results[0], results[1]] == [json.dumps(weather["output"]), "no tides today"]


def test_a_page_is_told_when_its_access_is_revoked(
    run: Run, ui_service: Service, store: str
) -> None:
    bob = "bob@example.org"
    reader = ui_service.make_key("main", bob)
    with connect(ui_service.url, ui_service.key) as ann:
        terms = {"resource": store, "grantee": {"user": bob}, "actions": ["search"]}
        grant = ann.post("/v1/grants", json=terms).json()["id"]
    body = searching(store, "held")
    told = {"chat": "revoked", "reader": reader, "body": body, "grant": grant, "text": QUESTION}
    seen = run("use_chat", "revoked", **told)
    assert seen["gone"] in {200, 204}
    assert seen["status"] == "error"
    (words,) = seen["errors"]
    assert "has ended" in words
    (part,) = seen["data"]
    assert (part["type"], part["data"]["code"]) == ("data-error", "access_revoked")
    assert chunks_of(seen)[-1]["finishReason"] == "error"
    # What was shown of the document is not shown again.
    assert TEXT not in json.dumps(seen["kept"])
    assert "first" not in json.dumps(seen["kept"])


def test_the_openai_package_streams_cited_answers(run: Run, store: str) -> None:
    seen = run("sdk", "responses", store=store, question=QUESTION)
    assert seen["types"][0] == "response.created"
    assert seen["types"][-1] == "response.completed"
    assert seen["numbers"] == list(range(len(seen["numbers"])))
    assert "six" in seen["text"]
    assert seen["kept"] == seen["text"]
    (citation,) = seen["citations"]
    assert citation["undercroft"]["quote"] == TEXT
    assert seen["missing"] == {"name": "NotFoundError", "status": 404, "code": "not_found"}


def test_the_openai_package_comes_back_to_a_stream(run: Run) -> None:
    seen = run("sdk", "resume")
    # Also while nothing new comes: it waits for the answer's headers before it gives the stream.
    assert [*seen["before"], *seen["after"]] == seen["whole"]
    assert seen["whole"][-1]["type"] == "response.completed"
    assert seen["cancelled"] == "cancelled"


def test_the_openai_package_keeps_a_conversation(run: Run) -> None:
    seen = run("sdk", "conversation")
    assert seen["texts"] == ["one", "two"]
    assert seen["roles"] == ["user", "assistant"] * 2
    assert seen["deleted"] is True


def test_the_openai_package_makes_chat_completions(run: Run) -> None:
    seen = run("sdk", "completions")
    assert "".join(seen["pieces"]) == seen["text"] == "Hello there"
    assert seen["usage"]["total_tokens"] == 4
    assert seen["tools"] == "It said: blue"


def test_the_openai_package_keeps_and_finds_files(run: Run) -> None:
    seen = run("sdk", "files", text=TEXT, question=QUESTION)
    assert seen["status"] == "completed"
    assert seen["found"] == [["bell.txt", TEXT]]
    assert seen["content"] == TEXT
    assert seen["dimensions"] == 384
    assert {"echo", "extractive"} <= set(seen["models"])


def test_the_openai_package_puts_files_in_together(run: Run) -> None:
    seen = run("sdk", "batches")
    for batch in (seen["uploaded"], seen["again"], seen["cancelled"]):
        assert (batch["object"], batch["status"]) == ("vector_store.file_batch", "completed")
        assert batch["file_counts"]["completed"] == batch["file_counts"]["total"] == 2
    assert seen["attributes"] == {"from": "node"}
    assert seen["missing"] == "files.0.file_id"


@pytest.mark.parametrize("provider", ["compatible", "open_responses"])
def test_the_ai_package_streams_and_calls_tools(run: Run, provider: str) -> None:
    seen = run("providers", provider)
    assert seen["text"] == "Hello there"
    stream = seen["stream"]
    assert (stream["text"], stream["reason"]) == ("Two?", "stop")
    assert "text-delta" in stream["parts"]
    assert stream["usage"]["totalTokens"] == 6
    assert seen["steps"] == [["blue, for Hello there"], []]
    assert seen["tools"] == "It said: blue, for Hello there"
    assert seen["refused"] == {"name": "AI_APICallError", "status": 400}


def test_the_page_of_the_documentation_runs(run: Run, store: str, tmp_path: Path) -> None:
    page = (NODE.parents[1] / "docs" / "ui.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```js\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    module = tmp_path / "page.mjs"
    module.write_text(example, encoding="utf-8")
    seen = run("page", "page", chat="page", store=store, text=QUESTION, module=str(module))
    assert "six" in texts_of(seen["shown"])[1][1]
    assert texts_of(seen["kept"]) == texts_of(seen["shown"])
    assert seen["stopped"] == 204


def test_no_registry_is_named() -> None:
    lock = json.loads((NODE / "package-lock.json").read_text())
    packages = [entry for name, entry in lock["packages"].items() if name]
    assert packages
    assert not [entry for entry in packages if "resolved" in entry]
    # What is installed is what was looked at, from wherever it comes.
    assert all(entry["integrity"].startswith("sha512-") for entry in packages)

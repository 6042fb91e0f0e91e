"""Writes a canary through every input of the API that takes a text of people's own."""

import asyncio
import base64
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import httpx2 as httpx

from tests.e2e.api import connect
from tests.e2e.assistants import assistant
from tests.e2e.canaries import Canaries, as_json
from tests.e2e.conftest import Service
from tests.e2e.sockets import open_socket
from tests.e2e.test_accounts_http import await_code

_TENANT: Final = "canaries"
_PATIENCE: Final = 60.0
_ERASED: Final = {
    "resp_": "responses",
    "conv_": "conversations",
    "vs_": "vector_stores",
    "file-": "files",
    "rec_": "records",
    "schema_": "schemas",
    "group_": "groups",
    "user_": "users",
    "webhook_": "webhooks",
}
"""What is erased by its id, in that order: the beginning of the id, and where it is."""
_ADMINS: Final = {"groups", "users", "webhooks"}


def write_everywhere(service: Service, canaries: Canaries) -> None:
    """Through the native routes, the OpenAI faces, useChat's, MCP and a socket."""
    keys = {
        name: service.make_key(_TENANT, f"{name}@canaries.example", role)
        for name, role in (("ann", "member"), ("bob", "member"), ("ada", "admin"))
    }
    with (
        connect(service.url, keys["ann"]) as ann,
        connect(service.url, keys["bob"]) as bob,
        connect(service.url, keys["ada"]) as ada,
    ):
        document = write_documents(ann, canaries)
        store = write_collections(ann, canaries, document)
        write_uploads(ann, canaries)
        write_records(ann, canaries)
        write_sharing(ann, bob, canaries, document)
        write_notices(ann, canaries)
        write_answers(ann, canaries, store)
        write_conversations(ann, canaries)
        write_chats(ann, canaries)
        write_tenant(ada, canaries)
    with connect(service.url, keys["bob"]) as nobody:
        del nobody.headers["Authorization"]
        write_account(service, nobody, canaries)
    asyncio.run(write_elsewhere(service.url, keys["ann"], canaries, store))


def erase_everything(service: Service, canaries: Canaries) -> None:
    """Erase all of it that can be erased."""
    ann = service.make_key(_TENANT, "ann@canaries.example")
    ada = service.make_key(_TENANT, "ada@canaries.example", "admin")
    with connect(service.url, ann) as owner, connect(service.url, ada) as admin:
        chats = owner.post("/v1/conversations/search", json={"query": "canary"}).json()["data"]
        made = [*canaries.made, *(chat["conversation"] for chat in chats)]
        for prefix, kind in _ERASED.items():
            client = admin if kind in _ADMINS else owner
            for each in dict.fromkeys(made):
                if each.startswith(prefix):
                    path = f"/v1/{kind}/{each}"
                    gone = client.delete(path, headers={"If-Match": "*"})
                    assert gone.is_success, (path, gone.status_code, gone.text)


def write_documents(ann: httpx.Client, canaries: Canaries) -> str:
    """A document of two versions, with a comment; its id."""
    say, send = canaries.say, canaries.send
    made = send(
        ann,
        "POST /v1/documents",
        files={"file": (f"{say()}.txt", f"# Part\n\nHere {say()}.".encode(), "text/markdown")},
        data={"name": say(), "metadata": as_json({"kind": say()})},
        headers=keyed(),
    )
    at = {"document_id": str(made.json()["id"])}
    path = "/v1/documents/{document_id}"
    again = {"file": ("again.md", f"# Part\n\nThere {say()}.".encode(), "text/markdown")}
    added = send(
        ann, f"POST {path}/versions", at, files=again, headers={"If-Match": made.headers["ETag"]}
    )
    assert added.status_code == 201
    tag = ann.get(path.format_map(at)).headers["ETag"]
    changes = {"name": say(), "metadata": {"kind": say()}}
    send(ann, f"PATCH {path}", at, json=changes, headers={"If-Match": tag})
    send(ann, f"POST {path}/comments", at, json={"text": say()})
    return at["document_id"]


def write_collections(ann: httpx.Client, canaries: Canaries, document: str) -> str:
    """A vector store with the document and a file, searched; its id."""
    say, send = canaries.say, canaries.send
    file = {"file": (f"{say()}.txt", f"Minutes. {say()}.".encode(), "text/plain")}
    sent = send(ann, "POST /v1/files", files=file, data={"purpose": "user_data"})
    stored = {"name": say(), "metadata": {"kind": say()}}
    store = str(send(ann, "POST /v1/vector_stores", json=stored).json()["id"])
    at = {"vector_store_id": store, "file_id": str(sent.json()["id"])}
    path = "/v1/vector_stores/{vector_store_id}"
    send(ann, f"POST {path}", at, json={"name": say(), "metadata": {"kind": say()}})
    body = {"file_id": document, "attributes": {"kind": say()}}
    send(ann, f"POST {path}/files", at, json=body)
    for named in ({"files": [body | {"attributes": {"kind": say()}}]}, {"file_ids": [document]}):
        attributes = {"attributes": {"kind": say()}} if "file_ids" in named else {}
        send(ann, f"POST {path}/file_batches", at, json=named | attributes)
    send(ann, f"POST {path}/files", at, json={"file_id": at["file_id"]})
    send(ann, f"POST {path}/files/{{file_id}}", at, json={"attributes": {"kind": say()}})
    await_index(ann, f"{path}/files".format_map(at))
    filters = {"type": "ne", "key": "kind", "value": say()}
    found = send(ann, f"POST {path}/search", at, json={"query": say(), "filters": filters})
    assert len(found.json()["data"]) == 2
    asked = {"query": say(), "filters": {"type": "ne", "key": "kind", "value": say()}}
    asked |= {"facets": [say()], "sort": {"key": say()}}
    send(ann, "POST /v1/search", json=asked)
    return store


def keyed() -> dict[str, str]:
    """Has the answer kept for a day, for whoever repeats the request."""
    return {"Idempotency-Key": uuid4().hex}


def await_index(client: httpx.Client, path: str) -> None:
    """Until a vector store's files are indexed."""
    deadline = time.monotonic() + _PATIENCE
    while any(each["status"] != "completed" for each in client.get(path).json()["data"]):
        assert time.monotonic() < deadline, "the files are not indexed"
        time.sleep(0.1)  # another process indexes; only it knows when


def write_uploads(ann: httpx.Client, canaries: Canaries) -> None:
    """A file in parts."""
    content = canaries.say().encode()
    begun = {"filename": f"{canaries.say()}.txt", "bytes": len(content), "purpose": "user_data"}
    begun |= {"mime_type": "text/plain"}
    upload = canaries.send(ann, "POST /v1/uploads", json=begun).json()["id"]
    at = {"upload_id": str(upload)}
    part = canaries.send(
        ann, "POST /v1/uploads/{upload_id}/parts", at, files={"data": content}
    ).json()["id"]
    body = {"part_ids": [part]}
    canaries.send(ann, "POST /v1/uploads/{upload_id}/complete", at, json=body)


def write_records(ann: httpx.Client, canaries: Canaries) -> None:
    """A schema and a record, each changed, found and migrated."""
    say, send, word = canaries.say, canaries.send, canaries.word

    def define() -> dict[str, Any]:
        fields = ("plain", "indexed", "sensitive", "personal")
        named = {f"{field}_fields": [f"/{field}", f"/{word()}"] for field in fields}
        return {"schema": {"description": say(), "type": "object"}, **named}

    def data() -> dict[str, str]:
        members = ("plain", "indexed", "sensitive", "personal", "other")
        return {member: say() for member in members} | {say(): say()}

    schema = send(ann, "POST /v1/schemas", json={"name": say(), **define()}).json()["id"]
    body = {"schema": schema, "data": data()}
    record = send(ann, "POST /v1/records", json=body, headers=keyed()).json()["id"]
    at = {"schema_id": str(schema), "record_id": str(record)}
    send(
        ann,
        "PUT /v1/records/{record_id}",
        at,
        json={"data": data()},
        headers={"If-Match": '"1"'},
    )
    for version, (kind, patch) in enumerate(
        (
            ("merge-patch", {"merged": say()}),
            ("json-patch", [{"op": "add", "path": "/patched", "value": say()}]),
        ),
        2,
    ):
        headers = {"If-Match": f'"{version}"', "Content-Type": f"application/{kind}+json"}
        send(ann, "PATCH /v1/records/{record_id}", at, json=patch, headers=headers)
    send(ann, "POST /v1/records/search", json={"query": say()})
    path = "/v1/schemas/{schema_id}"
    send(ann, f"POST {path}/search", at, json={"fields": {"/indexed": say()}})
    send(ann, f"PUT {path}", at, json=define(), headers={"If-Match": '"1"'})
    patch = [{"op": "add", "path": "/migrated", "value": say()}]
    send(ann, f"POST {path}/migrations", at, json={"patch": patch})


def write_sharing(ann: httpx.Client, bob: httpx.Client, canaries: Canaries, document: str) -> None:
    """A grant, a link with a passcode, a request and its answer; a receipt is looked at."""
    say, send = canaries.say, canaries.send

    def terms() -> dict[str, Any]:
        return {"resource": document, "actions": ["read_parts"], "parts": {"sections": [say()]}}

    grantee = {"user": "bob@canaries.example"}
    send(ann, "POST /v1/grants", json={**terms(), "grantee": grantee})
    passcode = say()
    link = send(ann, "POST /v1/share-links", json={**terms(), "passcode": passcode}).json()
    redeemed = {"token": link["token"], "passcode": passcode}
    send(bob, "POST /v1/share-links/redeem", json=redeemed)
    body = {**terms(), "message": say()}
    request = send(bob, "POST /v1/access-requests", json=body).json()["id"]
    at = {"request_id": str(request)}
    # No more than was asked for.
    approved = {name: body[name] for name in ("actions", "parts")}
    send(ann, "POST /v1/access-requests/{request_id}/approve", at, json=approved)


def write_notices(ann: httpx.Client, canaries: Canaries) -> None:
    """A notice and its next version."""
    say = canaries.say

    def notice() -> dict[str, Any]:
        texts = ("title", "text", "purpose_description", "retention", "withdrawal")
        return {
            **{name: say() for name in texts},
            "data_categories": [say()],
            "controller": {"name": say(), "contact": say()},
            "recipients": [say()],
            "jurisdictions": ["DE"],
            "retention_days": 30,
            "validity_days": 14,
            "erases": False,
        }

    first = {**notice(), "purpose": "second-opinion"}
    made = canaries.send(ann, "POST /v1/consent-notices", json=first).json()["id"]
    at = {"notice_id": str(made)}
    canaries.send(ann, "PUT /v1/consent-notices/{notice_id}", at, json=notice())


def write_answers(ann: httpx.Client, canaries: Canaries, store: str) -> None:
    """Answers that are kept: at once, from files, in the background, and one that is compacted."""
    say, send = canaries.say, canaries.send

    def body() -> dict[str, Any]:
        file = base64.b64encode(f"Look: {say()}.".encode()).decode()
        parts: list[dict[str, str]] = [
            {"type": "input_text", "text": say()},
            {"type": "input_file", "filename": f"{say()}.txt", "file_data": file},
        ]
        return {
            "model": "echo",
            "input": [{"role": "user", "content": parts}],
            **common(say),
            "tools": [function(say)],
            "text": {"format": form(say)},
            **named(say),
        }

    send(ann, "POST /v1/responses", json=body())
    send(ann, "POST /v1/responses", json=body(), headers=keyed())
    background = send(ann, "POST /v1/responses", json={**body(), "background": True}).json()
    await_end(ann, str(background["id"]))
    search = {"type": "file_search", "vector_store_ids": [store]}
    filters = {"type": "ne", "key": "kind", "value": say()}
    asked = {"model": "extractive", "input": f"What did {say()}?"}
    send(ann, "POST /v1/responses", json={**asked, "tools": [{**search, "filters": filters}]})
    compact = {"model": "echo", "input": say(), "instructions": say(), "prompt_cache_key": say()}
    send(ann, "POST /v1/responses/compact", json=compact)


def await_end(client: httpx.Client, response: str) -> None:
    """Until an answer in the background is whole."""
    deadline = time.monotonic() + _PATIENCE
    while client.get(f"/v1/responses/{response}").json()["status"] != "completed":
        assert time.monotonic() < deadline, "the answer does not end"
        time.sleep(0.1)  # another process answers; only it knows when


def common(say: Any) -> dict[str, Any]:  # noqa: ANN401 - a function
    """What answers of all faces take."""
    return {"instructions": say(), "metadata": {"kind": say()}}


def named(say: Any) -> dict[str, Any]:  # noqa: ANN401 - a function
    """What clients call their users."""
    return {name: say() for name in ("user", "safety_identifier", "prompt_cache_key")}


def function(say: Any) -> dict[str, Any]:  # noqa: ANN401 - a function
    """A function of the client's."""
    parameters = {"type": "object", "description": say(), "properties": {}}
    return {"type": "function", "name": "look", "description": say(), "parameters": parameters}


def form(say: Any) -> dict[str, Any]:  # noqa: ANN401 - a function
    """How an answer is to be formed."""
    schema = {"type": "object", "description": say(), "properties": {}}
    return {"type": "json_schema", "name": "form", "description": say(), "schema": schema}


def write_conversations(ann: httpx.Client, canaries: Canaries) -> None:
    """A conversation of items of many kinds."""
    say, send = canaries.say, canaries.send

    def items() -> list[Mapping[str, Any]]:
        call = {"call_id": "call_1", "name": "look", "arguments": as_json({"at": say()})}
        return [
            {"role": "user", "content": say()},
            {"type": "function_call", **call},
            {"type": "function_call_output", "call_id": "call_1", "output": say()},
            {"role": "assistant", "content": say()},
        ]

    begun = {"items": items(), "metadata": {"kind": say()}}
    at = {"conversation_id": str(send(ann, "POST /v1/conversations", json=begun).json()["id"])}
    path = "/v1/conversations/{conversation_id}"
    send(ann, f"POST {path}", at, json={"metadata": {"kind": say()}})
    send(ann, f"POST {path}/items", at, json={"items": items()})
    send(ann, "POST /v1/conversations/search", json={"query": say()})
    talked = send(ann, "POST /v1/conversations", json={"items": [items()[0]]}).json()
    body = {"model": "echo", "input": say(), "conversation": talked["id"]}
    send(ann, "POST /v1/responses", json=body)


def write_chats(ann: httpx.Client, canaries: Canaries) -> None:
    """Chat completions, useChat's and embeddings."""
    say, send = canaries.say, canaries.send
    tool = function(say)
    tools = [{"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}]
    formed = form(say)
    formats = {"type": "json_schema", "json_schema": {k: formed[k] for k in formed if k != "type"}}
    asked: dict[str, Any] = {
        "model": "echo",
        "messages": [{"role": "system", "content": say()}, {"role": "user", "content": say()}],
        "tools": tools,
        "response_format": formats,
        "stop": [say()],
        "metadata": {"kind": say()},
        "store": False,
        **named(say),
    }
    send(ann, "POST /v1/chat/completions", json=asked)
    message = {"id": canaries.word(), "role": "user", "parts": [{"type": "text", "text": say()}]}
    chat = {"id": "canaries", "messages": [message], "trigger": "submit-message", "model": "echo"}
    chat |= {**common(say), "tools": [function(say)], "text": {"format": form(say)}}
    send(ann, "POST /v1/ui/chat", json=chat)
    embedded = {"model": "all-minilm-l6-v2", "input": [say()], "user": say()}
    send(ann, "POST /v1/embeddings", json=embedded)


def write_tenant(ada: httpx.Client, canaries: Canaries) -> None:
    """What admins call services and groups, and a webhook."""
    say, send, word = canaries.say, canaries.send, canaries.word
    send(ada, "POST /v1/services", json={"name": say()})
    group = send(ada, "POST /v1/groups", json={"name": say()})
    at = {"group_id": str(group.json()["id"])}
    tag = {"If-Match": group.headers["ETag"]}
    send(ada, "PATCH /v1/groups/{group_id}", at, json={"name": say()}, headers=tag)
    target = {"url": f"https://example.org/{word()}", "events": ["grant.revoked"]}
    hook = send(ada, "POST /v1/webhooks", json=target)
    at = {"webhook_id": str(hook.json()["id"])}
    tag = {"If-Match": ada.get(f"/v1/webhooks/{at['webhook_id']}").headers["ETag"]}
    changes = {"url": f"https://example.org/{word()}"}
    send(ada, "PATCH /v1/webhooks/{webhook_id}", at, json=changes, headers=tag)


def write_account(service: Service, nobody: httpx.Client, canaries: Canaries) -> None:
    """A person's passwords."""
    say, send = canaries.say, canaries.send
    person = {"tenant": _TENANT, "email": "bob@canaries.example"}
    send(nobody, "POST /v1/account/password/request", json=person)
    password = say()
    code = await_code(service, person["email"])
    send(nobody, "POST /v1/account/password/code", json={"code": code, "password": password})
    opened_session = send(nobody, "POST /v1/sessions", json={**person, "password": password})
    token = opened_session.json()["access_token"]
    nobody.headers["Authorization"] = f"Bearer {token}"
    changed = {"current_password": password, "password": say()}
    send(nobody, "PUT /v1/account/password", json=changed)
    mine = {"current_password": changed["password"]}
    send(nobody, "POST /v1/account/second-factor", json=mine)


async def write_elsewhere(url: str, key: str, canaries: Canaries, store: str) -> None:
    """Through MCP and a socket, which the OpenAPI document does not describe."""
    async with assistant(url, key) as client:
        await client.call_tool("search", {"query": canaries.say()})
        asked = {"collection": store, "query": canaries.say()}
        await client.call_tool("search_collection", asked)
    async with open_socket(url, key) as socket:
        await socket.ask(model="echo", input=canaries.say(), instructions=canaries.say())
        events = await socket.until_end()
        canaries.made.append(events[-1]["response"]["id"])

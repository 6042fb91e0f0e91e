"""What a client does wrong is told apart, named, and never a 500; what is another's does not exist."""

import io
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import Service

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture
def http(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.key) as client:
        yield client


def upload(http: httpx.Client, content: bytes, purpose: str = "user_data") -> httpx.Response:
    return http.post(
        "/v1/files", data={"purpose": purpose}, files={"file": ("a.txt", io.BytesIO(content))}
    )


def test_a_wrong_key_is_401_whatever_is_wrong_with_it(service: Service) -> None:
    wrong = ["nonsense", service.key[:-1] + "x", service.key.replace("uk_", "uk_uk_")]
    for key in wrong:
        answer = httpx.get(f"{service.url}/v1/files", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert httpx.get(f"{service.url}/v1/files").status_code == 401


def test_a_missing_object_and_another_ones_are_the_same_404(service: Service) -> None:
    other_tenant = service.make_key("other", "main@example.org")
    colleague = service.make_key("main", "colleague@example.org", "admin")
    with service.client() as owner:
        file = owner.files.create(
            file=("mine.txt", io.BytesIO(b"Mine alone.")), purpose="user_data"
        )
        store = owner.vector_stores.create(name="mine", file_ids=[file.id])
    paths = [
        ("GET", f"/v1/files/{file.id}", None),
        ("GET", f"/v1/files/{file.id}/content", None),
        ("DELETE", f"/v1/files/{file.id}", None),
        ("GET", f"/v1/vector_stores/{store.id}", None),
        ("POST", f"/v1/vector_stores/{store.id}", {"name": "taken"}),
        ("DELETE", f"/v1/vector_stores/{store.id}", None),
        ("POST", f"/v1/vector_stores/{store.id}/search", {"query": "mine"}),
        ("GET", f"/v1/vector_stores/{store.id}/files", None),
        ("GET", f"/v1/vector_stores/{store.id}/files/{file.id}", None),
        ("DELETE", f"/v1/vector_stores/{store.id}/files/{file.id}", None),
    ]
    for key in (other_tenant, colleague):
        headers = {"Authorization": f"Bearer {key}"}
        for method, path, body in paths:
            theirs = httpx.request(method, service.url + path, headers=headers, json=body)
            absent_path = path.replace(file.id[5:], "0" * 32).replace(store.id[3:], "0" * 32)
            absent = httpx.request(method, service.url + absent_path, headers=headers, json=body)
            assert theirs.status_code == absent.status_code == 404, path
            hidden = theirs.text.replace(file.id[5:], "ID").replace(store.id[3:], "ID")
            assert hidden == absent.text.replace("0" * 32, "ID")
        answer = httpx.post(
            f"{service.url}/v1/responses",
            headers=headers,
            json={
                "input": "Is it mine?",
                "tools": [{"type": "file_search", "vector_store_ids": [store.id]}],
            },
        )
        assert answer.status_code == 404


def test_two_tenants_with_the_same_names_never_meet(service: Service) -> None:
    keys = {tenant: service.make_key(tenant, "ann@example.org") for tenant in ("north", "south")}
    answers: dict[str, str] = {}
    for tenant, key in keys.items():
        with service.client(key) as client:
            store = client.vector_stores.create(name="papers")
            content = (
                f"The {tenant} gate opens at {7 if tenant == 'north' else 9} o'clock.".encode()
            )
            client.vector_stores.files.upload_and_poll(
                vector_store_id=store.id, file=("gate.txt", io.BytesIO(content))
            )
            answers[tenant] = client.responses.create(
                model="extractive",
                input="When does the gate open?",
                tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
            ).output_text
            assert len(client.files.list().data) == 1
    assert "7 o'clock" in answers["north"]
    assert "9" not in answers["north"]
    assert "9 o'clock" in answers["south"]
    assert "7" not in answers["south"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": 5}, "input"),
        ({}, "input"),
        ({"input": "Hello", "temperature": 3}, "temperature"),
        ({"input": "Hello", "unknown_field": 1}, "unknown_field"),
        ({"input": "Hello", "prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": "Hello", "tools": [{"type": "web_search"}]}, "tools.0"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input.0.content.0.text",
        ),
        ({"input": "a\x00b"}, None),
        ({"input": " "}, "input"),
    ],
)
def test_a_bad_body_is_400_and_names_the_field(
    http: httpx.Client, body: dict[str, Any], param: str | None
) -> None:
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
        assert param in error["message"] or param == "input"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[" * 50_000 + b"]" * 50_000,
        b'{"input": "\\ud800"}',
        b'{"input": "a", "input": "b", "x": 1}',
        b"\xff\xfe",
        b"",
    ],
)
def test_rubbish_is_400(http: httpx.Client, content: bytes) -> None:
    answer = http.post(
        "/v1/responses", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"name": "a", "name": "b"}', "duplicate_key"),
        (b'{"metadata": {"a": "1", "a": "2"}}', "duplicate_key"),
        (b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too_deep"),
        (b'{"name": "a\\u0000"}', "nul_character"),
        (b'{"name": "\\ud800"}', "lone_surrogate"),
        (b'{"name": NaN}', "number_out_of_range"),
        (b'{"name": "\xff"}', "invalid_json"),
        (b'{"name"', "invalid_json"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_hostile_json_is_refused_with_its_code(
    http: httpx.Client, content: bytes, code: str
) -> None:
    answer = http.post(
        "/v1/vector_stores", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("name", "param"),
    [
        ("purposes", "purposes"),
        ("tags[0]", "tags"),
        ("expires_after", "expires_after"),
        ("\u202e", None),
    ],
)
def test_a_forms_field_that_is_not_known_is_named(
    http: httpx.Client, name: str, param: str | None
) -> None:
    file = ("a.txt", b"A note.", "text/plain")
    made = http.post("/v1/documents", files={"file": file})
    document = f"/v1/documents/{made.json()['id']}"
    begun = {"filename": "a.txt", "purpose": "user_data", "bytes": 7, "mime_type": "text/plain"}
    upload = f"/v1/uploads/{http.post('/v1/uploads', json=begun).json()['id']}"
    before = [file["id"] for file in http.get("/v1/files").json()["data"]]
    for path, sent, known in (
        ("/v1/files", "file", {"purpose": "user_data"}),
        ("/v1/documents", "file", {"name": "a.txt"}),
        (f"{document}/versions", "file", {}),
        (f"{upload}/parts", "data", {}),
    ):
        headers = {"If-Match": made.headers["ETag"]}
        for data, files in (({**known, name: "a"}, {sent: file}), (known, {name: file})):
            refused = http.post(path, files=files, data=data, headers=headers)
            assert refused.status_code == 400, path
            error = refused.json()["error"]
            assert (error["code"], error["param"]) == ("invalid_request", param)
            assert "is not a field that is known here" in error["message"]
    assert [file["id"] for file in http.get("/v1/files").json()["data"]] == before


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("/v1/audit?outcome=denied", "outcome"),
        ("/v1/records?limit=1&order=desc", "order"),
        ("/v1/documents?owner=me", "owner"),
        ("/v1/usage?%C3%A9=1", "\\xe9"),
    ],
)
def test_a_misspelt_filter_is_not_ignored(http: httpx.Client, path: str, unknown: str) -> None:
    error = http.get(path).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", unknown)
    assert http.get(path, headers={"Authorization": "Bearer none"}).status_code == 401
    assert http.get("/v1/files?owner=me").status_code == 200  # as OpenAI does


def test_what_is_too_large_is_413_with_and_without_a_declared_length(http: httpx.Client) -> None:
    assert upload(http, b"a" * 2_200_000).status_code == 413
    assert upload(http, b"a" * 2_050_000).status_code == 413
    too_long = http.post("/v1/responses", json={"input": "a" * 5_000_000})
    assert too_long.status_code == 413
    assert http.post("/v1/vector_stores", json={"name": "a" * 300_000}).status_code == 413
    long_text = http.post("/v1/embeddings", json={"input": ["a" * 75_000] * 4, "model": "another"})
    assert long_text.status_code == 404
    chunks = (b"a" * 65536 for _ in range(100))
    streamed = http.post(
        "/v1/responses", content=chunks, headers={"Content-Type": "application/json"}
    )
    assert streamed.status_code == 413
    assert streamed.json()["error"]["code"] == "too_large"
    assert "max_body_bytes" in streamed.json()["error"]["message"]


def test_a_place_that_is_not_in_a_list_is_the_fault_of_after(service: Service) -> None:
    with connect(service.url, service.make_key("main", "lists@example.org", "admin")) as admin:
        paths = admin.get("/openapi.json").json()["paths"]
        lists = [path for path, taken in paths.items() if is_list(taken.get("get", {}))]
        assert {"/v1/files", "/v1/grants", "/v1/webhooks"} < set(lists)
        for path in lists:
            refused = admin.get(path, params={"after": "nothing"})
            assert refused.status_code in {400, 404}, path
            assert refused.json()["error"]["param"] == "after", path


def is_list(operation: dict[str, Any]) -> bool:
    """Whether it takes the place from which a page goes on, and demands nothing."""
    parameters = operation.get("parameters", [])
    demanded = [each for each in parameters if each["required"]]
    return "after" in {each["name"] for each in parameters} and not demanded


def test_a_quota_s_number_and_period_are_named_as_they_were_sent(service: Service) -> None:
    with connect(service.url, service.make_key("main", "lists@example.org", "admin")) as admin:
        refused = admin.put("/v1/quotas/tenant/day", json={"requests": 10**18}).json()["error"]
        assert (refused["param"], refused["code"]) == ("requests", "number_out_of_range")
        unknown = admin.put("/v1/quotas/tenant/year", json={"requests": 1})
        assert unknown.status_code == 404
        assert "minute" in unknown.json()["error"]["message"]


def test_an_unsupported_type_is_415_by_its_content(http: httpx.Client) -> None:
    answer = upload(http, PNG)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_file"


def test_an_empty_file_and_a_missing_one_are_400(http: httpx.Client) -> None:
    assert upload(http, b"").status_code == 400
    missing = http.post("/v1/files", data={"purpose": "user_data"})
    assert missing.status_code == 400
    assert missing.json()["error"]["param"] == "file"
    assert upload(http, b"text", purpose="nonsense").json()["error"]["param"] == "purpose"


def test_a_hostile_name_is_cleaned(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/files",
        data={"purpose": "user_data"},
        files={"file": ("../../etc/\r\npass\u202ewd\x00.txt", io.BytesIO(b"A name is a name."))},
    )
    assert answer.status_code == 200
    assert "/" not in answer.json()["filename"]
    assert answer.json()["filename"].isprintable()
    content = http.get(f"/v1/files/{answer.json()['id']}/content")
    assert content.content == b"A name is a name."
    assert content.headers["Content-Disposition"].startswith("attachment")


def test_a_path_with_a_slash_too_many_is_no_redirect(http: httpx.Client) -> None:
    answer = http.post("/v1/documents/", files={"file": ("a.txt", io.BytesIO(b"text"))})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_native_routes_answer_problem_json(service: Service) -> None:
    answer = httpx.get(f"{service.url}/nothing-here")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 404

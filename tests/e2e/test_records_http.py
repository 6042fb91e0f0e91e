"""Records and schemas over HTTP: entity tags, patches, hostile JSON."""

import json
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import connect, refusal
from tests.e2e.conftest import Service

PERSON = {
    "name": "person",
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
    },
    "plain_fields": ["/city"],
    "sensitive_fields": ["/email"],
    "indexed_fields": ["/email"],
}
ANN = {"name": "Ann", "city": "Ulm", "email": "ann@example.org", "tags": ["a"]}


@pytest.fixture(scope="module")
def http(service: Service) -> Generator[httpx.Client]:
    key = service.make_key("records", "ann@example.org")
    with connect(f"{service.url}/v1", key) as client:
        yield client


@pytest.fixture
def schema(http: httpx.Client) -> str:
    answer = http.post("/schemas", json=PERSON)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/schemas/{answer.json()['id']}"
    return str(answer.json()["id"])


@pytest.fixture
def record(http: httpx.Client, schema: str) -> dict[str, Any]:
    answer = http.post("/records", json={"schema": schema, "data": ANN})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/records/{answer.json()['id']}"
    return answer.json()


def test_a_record_is_made_read_and_changed(http: httpx.Client, record: dict[str, Any]) -> None:
    path = f"/records/{record['id']}"
    read = http.get(path)
    assert (read.json(), read.headers["ETag"]) == (record, '"1"')
    assert read.json()["data"] == ANN
    assert http.get(path, headers={"If-None-Match": '"7", W/"1"'}).status_code == 304
    assert http.get(path, headers={"If-None-Match": '"2"'}).status_code == 200

    assert refusal(http.put(path, json={"data": ANN})) == (428, "precondition_required")
    put = http.put(path, json={"data": {"name": "Bob"}}, headers={"If-Match": '"1"'})
    assert (put.status_code, put.json()["version"], put.headers["ETag"]) == (200, 2, '"2"')
    for stale in ('"1"', 'W/"2"', '"x"'):
        answer = http.put(path, json={"data": ANN}, headers={"If-Match": stale})
        assert refusal(answer) == (412, "stale_version")
    assert refusal(http.put(path, json={"data": ANN}, headers={"If-Match": "2"}))[0] == 400
    assert http.get(path, params={"version": 1}).json()["data"] == ANN
    versions = http.get(f"{path}/versions").json()
    assert [version["version"] for version in versions["data"]] == [1, 2]

    assert refusal(http.delete(path)) == (428, "precondition_required")
    assert http.delete(path, headers={"If-Match": '"2"'}).json()["deleted"] is True
    assert refusal(http.get(path)) == (404, "not_found")


def test_a_record_is_patched(http: httpx.Client, record: dict[str, Any]) -> None:
    path = f"/records/{record['id']}"

    def patch(media_type: str, body: object, version: int = 1) -> httpx.Response:
        headers = {"If-Match": f'"{version}"', "Content-Type": media_type}
        return http.patch(path, content=json.dumps(body), headers=headers)

    merged = patch("application/merge-patch+json", {"age": 40, "city": None})
    assert merged.json()["data"] == {
        "name": "Ann",
        "email": ANN["email"],
        "tags": ["a"],
        "age": 40,
    }
    operations = [
        {"op": "test", "path": "/age", "value": 40},
        {"op": "add", "path": "/tags/-", "value": "b"},
        {"op": "move", "from": "/email", "path": "/mail"},
    ]
    changed = patch("application/json-patch+json", operations, 2)
    assert changed.json()["data"] == {
        "name": "Ann",
        "tags": ["a", "b"],
        "age": 40,
        "mail": ANN["email"],
    }
    kind = "application/json-patch+json"
    assert refusal(patch(kind, operations, 3)) == (422, "patch_does_not_apply")
    assert refusal(patch(kind, [{"op": "grow"}], 3)) == (400, "invalid_patch")
    assert refusal(patch("application/merge-patch+json", {"name": None}, 3)) == (
        422,
        "schema_mismatch",
    )
    assert refusal(patch("application/merge-patch+json", [], 3)) == (422, "not_an_object")
    assert refusal(patch("application/json", {}, 3)) == (415, "unsupported_body")
    assert http.get(path).json()["version"] == 3


def test_records_are_listed_and_found(
    http: httpx.Client, schema: str, record: dict[str, Any]
) -> None:
    other = http.post("/records", json={"schema": schema, "data": {"name": "Bob", "city": "Ulm"}})

    def find(fields: object, **more: object) -> list[str]:
        answer = http.post(f"/schemas/{schema}/search", json={"fields": fields, **more})
        assert answer.status_code == 200, answer.text
        return [found["id"] for found in answer.json()["data"]]

    both = [record["id"], other.json()["id"]]
    assert find({"/city": "Ulm"}) == both
    assert find({"/city": "Ulm"}, limit=1) == both[:1]
    assert find({"/city": "Ulm"}, after=both[0]) == both[1:]
    assert find({"/email": ANN["email"], "/city": "Ulm"}) == both[:1]
    answer = http.post(f"/schemas/{schema}/search", json={"fields": {"/age": 1}})
    assert refusal(answer) == (400, "field_not_indexed")
    page = http.get("/records", params={"schema": schema, "limit": 1}).json()
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (both[:1], True)
    page = http.get("/records", params={"schema": schema, "after": page["last_id"]}).json()
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (both[1:], False)


def test_a_schema_is_versioned(http: httpx.Client, schema: str) -> None:
    path = f"/schemas/{schema}"
    assert http.get(path).headers["ETag"] == '"1"'
    assert http.get(path, headers={"If-None-Match": '"1"'}).status_code == 304
    body = {key: value for key, value in PERSON.items() if key != "name"}
    assert refusal(http.put(path, json=body)) == (428, "precondition_required")
    put = http.put(path, json=body, headers={"If-Match": '"1"'})
    assert (put.status_code, put.json()["version"]) == (200, 2)
    assert refusal(http.put(path, json=body, headers={"If-Match": '"1"'})) == (412, "stale_version")
    versions = http.get(f"{path}/versions", params={"after": 1}).json()
    assert [version["version"] for version in versions["data"]] == [2]
    assert schema in {item["id"] for item in http.get("/schemas?limit=100").json()["data"]}
    absent = http.get(path, params={"version": 3}).json()["error"]
    assert absent["message"] == f"No version 3 of a schema with id '{schema}'."
    stale = http.delete(path, headers={"If-Match": '"1"'})
    assert refusal(stale) == (412, "stale_version")
    assert http.delete(path, headers={"If-Match": '"2"'}).json()["deleted"] is True
    assert refusal(http.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "too_deep"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "too_deep"),
        ('{"name": 1, "name": 2}', "duplicate_key"),
        ('{"name": "a\\u0000b"}', "nul_character"),
        ('{"name\\u0000": "b"}', "nul_character"),
        ('{"name": "\\ud800"}', "lone_surrogate"),
        ('{"age": 1e999}', "number_out_of_range"),
        ('{"age": 9007199254740993}', "number_out_of_range"),
        ('{"age": ' + "9" * 5_000 + "}", "number_out_of_range"),
        ('{"age": NaN}', "number_out_of_range"),
        ('{"age": -Infinity}', "number_out_of_range"),
        ('{"tags": [' + ",".join("1" * 25_000) + "]}", "too_many_values"),
        ('{"name": "' + "x" * 300_000 + '"}', "too_large"),
        ('{"name": "Ann"', "invalid_json"),
        ('{"name": "\xff"}', "invalid_json"),
    ],
)
def test_hostile_json_is_refused(
    http: httpx.Client, record: dict[str, Any], data: str, code: str
) -> None:
    encoded = data.encode("latin-1")
    body = b'{"schema": "%s", "data": %s}' % (record["schema"].encode(), encoded)
    headers = {"Content-Type": "application/json"}
    expected = 413 if code == "too_large" else 400
    assert refusal(http.post("/records", content=body, headers=headers)) == (expected, code)
    patch_headers = {"Content-Type": "application/merge-patch+json", "If-Match": '"1"'}
    path = f"/records/{record['id']}"
    patched = http.patch(path, content=encoded, headers=patch_headers)
    assert refusal(patched) == (expected, code)
    assert http.get(path).json() == record


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"type": "nothing"},
        {"pattern": "(a"},
        {"pattern": "(?=a)a"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$ref": "#"},
    ],
)
def test_a_hostile_schema_is_refused(http: httpx.Client, schema: object) -> None:
    answer = http.post("/schemas", json={"name": "bad", "schema": schema})
    assert refusal(answer) == (400, "invalid_schema")


def test_a_record_is_locked(http: httpx.Client, record: dict[str, Any]) -> None:
    path = f"/records/{record['id']}"
    lock = http.post(f"{path}/lock", json={"seconds": 30})
    assert lock.status_code == 200, lock.text
    token = {"Lock-Token": lock.json()["token"]}
    body, match = {"data": {"name": "Bob"}}, {"If-Match": '"1"'}
    locked = http.put(path, json=body, headers=match)
    assert refusal(locked) == (423, "locked")
    assert 1 <= int(locked.headers["Retry-After"]) <= 30
    assert refusal(http.post(f"{path}/lock", json={}))[0] == 423
    assert http.post(f"{path}/lock", headers=token).status_code == 200
    assert http.put(path, json=body, headers={**match, **token}).status_code == 200
    assert refusal(http.delete(f"{path}/lock"))[0] == 428
    assert http.delete(f"{path}/lock", headers=token).json()["released"] is True
    late = http.put(path, json=body, headers={"If-Match": '"2"', **token})
    assert refusal(late) == (412, "lock_lost")
    assert refusal(http.post(f"{path}/lock", json={"seconds": 301}))[0] == 400

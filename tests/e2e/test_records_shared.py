"""Records under grants over HTTP: which are found, what of them is seen and changed, what nobody learns by trying."""

import time
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.api import await_entries, connect, refusal
from tests.e2e.conftest import Service
from tests.e2e.test_consents import NOTICE

TENANT = "registry"
DATA: dict[str, Any] = {
    "name": "Mill",
    "city": "Ulm",
    "contact": {"email": "mill@example.org", "phone": "0731"},
    "secret": "under the wheel",
}
SCHEMA: dict[str, Any] = {
    "name": "mill",
    "schema": {"type": "object"},
    "plain_fields": ["/city"],
    "sensitive_fields": ["/contact/email", "/secret"],
    "indexed_fields": ["/name", "/secret"],
}
MERGE = {"Content-Type": "application/merge-patch+json", "If-Match": "*"}
OPERATIONS = {"Content-Type": "application/json-patch+json", "If-Match": "*"}


@pytest.fixture
def ann(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "ann@registry.example")) as client:
        yield client


@pytest.fixture
def bob(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.make_key(TENANT, "bob@registry.example")) as client:
        yield client


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def put_record(client: httpx.Client, **schema: Any) -> tuple[str, str]:  # noqa: ANN401 - a body
    schema_id = made(client.post("/v1/schemas", json={**SCHEMA, **schema}))["id"]
    record = made(client.post("/v1/records", json={"schema": schema_id, "data": DATA}))
    return schema_id, record["id"]


def grant(client: httpx.Client, resource: str, *actions: str, **terms: Any) -> str:  # noqa: ANN401 - a body
    body = {"grantee": {"user": "bob@registry.example"}, "actions": actions, **terms}
    return str(made(client.post("/v1/grants", json={"resource": resource, **body}))["id"])


def find(client: httpx.Client, schema_id: str, **fields: Any) -> list[str]:  # noqa: ANN401 - a body
    wanted = {f"/{name}": value for name, value in fields.items()}
    page = made(client.post(f"/v1/schemas/{schema_id}/search", json={"fields": wanted}))
    return [record["id"] for record in page["data"]]


def test_a_reader_sees_the_fields_that_their_grants_cover_until_these_end(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    hidden = bob.get(path)
    assert hidden.status_code == 404
    some = grant(ann, record, "read", fields=["/name", "/contact/email"])
    shown = made(bob.get(path))
    assert shown["data"] == {"name": "Mill", "contact": {"email": "mill@example.org"}}
    assert shown["fields"] == ["/contact/email", "/name"]
    more = grant(ann, record, "read", fields=["/city"])
    assert made(bob.get(path))["data"] == {
        "name": "Mill",
        "city": "Ulm",
        "contact": {"email": "mill@example.org"},
    }
    entries = await_entries(ann, lambda found: len(found) >= 7, resource=record)
    read = [entry for entry in entries if entry["action"] == "record.read"]
    assert sorted(entry["grant"] or "" for entry in read) == sorted(["", some, some, more])
    assert ann.delete(f"/v1/grants/{some}").status_code == 204
    assert made(bob.get(path))["data"] == {"city": "Ulm"}
    assert ann.delete(f"/v1/grants/{more}").status_code == 204
    assert bob.get(path).json() | {"request_id": None} == hidden.json() | {"request_id": None}
    whole = made(ann.get(path))
    assert whole["data"] == DATA
    assert "fields" not in whole


def test_a_kept_copy_is_not_taken_for_what_is_seen_by_now(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    grant(ann, record, "read", fields=["/name"])
    tag = bob.get(path).headers["ETag"]
    grant(ann, record, "read", fields=["/city"])
    again = bob.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.json()["data"]) == (200, {"name": "Mill", "city": "Ulm"})


def test_an_earlier_version_shows_the_same_fields(ann: httpx.Client, bob: httpx.Client) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    made(ann.patch(path, json={"name": "Old mill"}, headers=MERGE))
    assert bob.get(f"{path}/versions").status_code == 404
    grant(ann, record, "read", fields=["/name"])
    assert made(bob.get(path))["data"] == {"name": "Old mill"}
    assert made(bob.get(path, params={"version": 1}))["data"] == {"name": "Mill"}
    assert bob.get(path, params={"version": 3}).status_code == 404
    assert [each["version"] for each in made(bob.get(f"{path}/versions"))["data"]] == [1, 2]


def test_what_may_be_searched_is_found_and_no_search_tells_of_other_fields(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    schema_id, record = put_record(ann)
    assert find(bob, schema_id, name="Mill") == []
    grant(ann, record, "read")
    assert find(bob, schema_id, name="Mill") == []
    assert bob.get("/v1/records", params={"schema": schema_id}).json()["data"] == []
    grant(ann, record, "search", fields=["/name"])
    assert find(bob, schema_id, name="Mill") == [record]
    assert find(bob, schema_id, name="Tower") == []
    for guess in ("Ulm", "Bonn"):
        assert (
            find(bob, schema_id, city=guess) == find(bob, schema_id, city=guess, name="Mill") == []
        )
    for guess in (DATA["secret"], "wrong"):
        assert find(bob, schema_id, secret=guess) == []
        assert find(bob, schema_id, name="Mill", secret=guess) == []
    listed = made(bob.get("/v1/records", params={"schema": schema_id}))["data"]
    assert [(each["id"], each["data"]) for each in listed] == [(record, DATA)]
    grant(ann, record, "search", fields=["/city"])
    assert find(bob, schema_id, city="Ulm", name="Mill") == [record]


def test_being_found_shows_nothing_without_reading(ann: httpx.Client, bob: httpx.Client) -> None:
    schema_id, record = put_record(ann)
    granted = grant(ann, record, "search")
    page = made(bob.post(f"/v1/schemas/{schema_id}/search", json={"fields": {"/city": "Ulm"}}))
    assert [(each["id"], each["data"], each["fields"]) for each in page["data"]] == [
        (record, {}, [])
    ]
    assert refusal(bob.get(f"/v1/records/{record}")) == (403, "not_granted")
    entries = await_entries(ann, lambda found: len(found) >= 4, resource=record)
    of_bob = [(each["action"], each["outcome"], each["grant"]) for each in entries]
    assert ("record.search", "allowed", granted) in of_bob
    assert ("record.read", "denied", None) in of_bob
    assert ("record.read", "allowed", granted) not in of_bob


def test_pages_hold_what_is_theirs_and_what_they_find_once_and_in_order(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    schema_id, _ = put_record(ann)
    expected: list[str] = []
    for number in range(7):
        owner = (ann, bob)[number % 2]
        record = made(owner.post("/v1/records", json={"schema": schema_id, "data": DATA}))["id"]
        expected.append(record)
        if owner is ann:
            grant(ann, record, "search", fields=["/name"])
            grant(ann, record, "search", "read", grantee={"tenant": True})
    for params in ({"schema": schema_id}, {}):
        seen: list[str] = []
        while True:
            query = {**params, "limit": 2} | ({"after": seen[-1]} if seen else {})
            page = made(bob.get("/v1/records", params=query))
            seen += [record["id"] for record in page["data"]]
            if not page["has_more"]:
                break
        assert [record for record in seen if record in expected] == expected
        assert len(set(seen)) == len(seen)
    assert find(bob, schema_id, name="Mill") == expected


def test_a_writer_changes_the_fields_that_are_theirs_and_no_other(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    granted = grant(ann, record, "read", "write", fields=["/city", "/contact/email"])
    shown = made(bob.patch(path, json={"city": "Bonn"}, headers=MERGE))
    assert (shown["version"], shown["data"]["city"]) == (2, "Bonn")
    assert "secret" not in shown["data"]
    for patch in ({"secret": "mine"}, {"contact": {"phone": "1"}}, {"contact": 5}, {"new": 1}):
        assert refusal(bob.patch(path, json=patch, headers=MERGE)) == (403, "not_granted")
    replaced = {"contact": {"email": "bob@example.org"}}
    made(bob.put(path, json={"data": replaced}, headers={"If-Match": "*"}))
    now = made(ann.get(path))
    assert now["data"] == {
        "name": "Mill",
        "contact": {"email": "bob@example.org", "phone": "0731"},
        "secret": DATA["secret"],
    }
    assert now["version"] == 3
    for refused in (bob.delete(path, headers={"If-Match": "*"}), bob.post(f"{path}/lock", json={})):
        assert refusal(refused) == (403, "not_granted")
    assert bob.put(path, json={"data": {}}, headers={"If-Match": '"2"'}).status_code == 412
    entries = await_entries(ann, lambda found: len(found) >= 11, resource=record)
    updates = [each for each in entries if each["action"] == "record.update" and each["version"]]
    assert {each["grant"] for each in updates} == {granted}
    assert ann.delete(f"/v1/grants/{granted}").status_code == 204
    assert bob.patch(path, json={"city": "Ulm"}, headers=MERGE).status_code == 404


@pytest.mark.parametrize("guess", [DATA["secret"], "wrong"])
@pytest.mark.parametrize("reads", [True, False])
def test_a_patch_tells_a_writer_nothing_of_what_they_do_not_see(
    ann: httpx.Client, bob: httpx.Client, guess: str, *, reads: bool
) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    grant(ann, record, "read", fields=["/name"])
    fields = {"fields": ["/name"]} if reads else {}
    grant(ann, record, "write", **fields)
    for operation in (
        {"op": "test", "path": "/secret", "value": guess},
        {"op": "copy", "from": "/secret", "path": "/name"},
        {"op": "move", "from": "/secret", "path": "/name"},
        {"op": "remove", "path": "/secret"},
    ):
        assert bob.patch(path, json=[operation], headers=OPERATIONS).status_code == 422
    assert made(ann.get(path))["data"] == DATA


def test_writing_alone_replaces_and_shows_nothing(ann: httpx.Client, bob: httpx.Client) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    grant(ann, record, "write")
    assert refusal(bob.patch(path, json={"name": "a"}, headers=MERGE)) == (403, "not_granted")
    put = made(bob.put(path, json={"data": {"name": "a"}}, headers={"If-Match": "*"}))
    assert put["data"] == {}
    assert made(ann.get(path))["data"] == {"name": "a"}


def test_a_purpose_everyone_and_a_link_count_as_for_documents(
    service: Service, ann: httpx.Client, bob: httpx.Client
) -> None:
    _, record = put_record(ann)
    path = f"/v1/records/{record}"
    grant(ann, record, "read", purpose="audit", grantee={"tenant": True})
    assert bob.get(path).status_code == 404
    assert bob.get(path, headers={"Undercroft-Purpose": "sales"}).status_code == 404
    assert made(bob.get(path, headers={"Undercroft-Purpose": "audit"}))["data"] == DATA
    link = made(
        ann.post(
            "/v1/share-links", json={"resource": record, "actions": ["read"], "fields": ["/name"]}
        )
    )
    token = made(httpx.post(f"{service.url}/v1/share-links/redeem", json={"token": link["token"]}))
    with connect(service.url, token["access_token"]) as holder:
        assert made(holder.get(path))["data"] == {"name": "Mill"}
        assert holder.put(path, json={"data": {}}, headers={"If-Match": "*"}).status_code == 403
        assert ann.delete(f"/v1/grants/{link['grant']['id']}").status_code == 204
        assert holder.get(path).status_code == 401


def test_what_was_personal_in_an_earlier_version_takes_consent(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    schema_id, record = put_record(ann, personal_fields=["/secret"])
    path = f"/v1/records/{record}"
    open_schema = {key: value for key, value in SCHEMA.items() if key != "name"}
    made(ann.put(f"/v1/schemas/{schema_id}", json=open_schema, headers={"If-Match": "*"}))
    begun = made(ann.post(f"/v1/schemas/{schema_id}/migrations", json={}))
    for _ in range(300):
        if made(ann.get(path))["schema_version"] == 2:
            break
        time.sleep(0.1)  # a worker migrates; only it knows when
    else:
        pytest.fail(str(begun))
    grant(ann, record, "read")
    assert made(bob.get(path))["data"] == DATA
    assert bob.get(path, params={"version": 1}).status_code == 404
    grant(ann, record, "read", fields=["/name"])
    assert made(bob.get(path, params={"version": 1}))["data"] == {"name": "Mill"}


def test_a_personal_field_is_seen_while_its_subject_consents(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    _, record = put_record(ann, personal_fields=["/secret"])
    path = f"/v1/records/{record}"
    refused = ann.post(
        "/v1/grants",
        json={
            "resource": record,
            "grantee": {"user": "bob@registry.example"},
            "actions": ["read"],
            "fields": ["/secret"],
        },
    )
    assert refusal(refused) == (409, "consent_required")
    grant(ann, record, "read", fields=["/name"])
    notice = made(ann.post("/v1/consent-notices", json={**NOTICE, "erases": False}))
    consent = made(ann.post("/v1/consents", json={"notice": notice["id"], "resource": record}))
    made(ann.post(f"/v1/consents/{consent['id']}/give", json={"notice_version": 1}))
    grant(ann, record, "read", fields=["/secret"])
    stated = {"Undercroft-Purpose": str(NOTICE["purpose"])}
    assert made(bob.get(path))["data"] == {"name": "Mill"}
    both = {"name": "Mill", "secret": DATA["secret"]}
    assert made(bob.get(path, headers=stated))["data"] == both
    made(ann.post(f"/v1/consents/{consent['id']}/withdraw"))
    assert made(bob.get(path, headers=stated))["data"] == {"name": "Mill"}

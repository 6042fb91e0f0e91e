"""What is written into records and schemas is nowhere in the clear, but for the fields that a schema names as plain."""

from uuid import uuid4

import httpx2 as httpx

from tests.e2e.api import connect
from tests.e2e.conftest import Service
from tests.e2e.test_canary import holders, write_out

PLACES = (
    "name",
    "schema",
    "member",
    "record",
    "sensitive",
    "indexed",
    "merged",
    "patched",
    "wrong",
    "asked",
    "migrated",
)


def test_only_plain_fields_of_records_are_in_the_files(service: Service) -> None:
    tag = uuid4().hex
    canary = {place: f"the {place} canary {tag} sang" for place in (*PLACES, "plain")}
    key = service.make_key("canary", "records@example.org")
    with connect(f"{service.url}/v1", key) as http:
        write_everywhere(http, canary)
    write_out(service.data_dir)
    for place in PLACES:
        assert holders(service.data_dir, canary[place]) == [], place
        assert canary[place] not in service.log(), place
    assert holders(service.data_dir, canary["plain"]), "docs/erasure.md lists it"


def write_everywhere(http: httpx.Client, canary: dict[str, str]) -> None:
    """Through every input of the routes, the refused ones among them."""
    definition = {
        "schema": {
            "description": canary["schema"],
            "type": "object",
            "properties": {"number": {"type": "integer"}},
        },
        "plain_fields": ["/plain"],
        "sensitive_fields": ["/sensitive"],
        "indexed_fields": ["/indexed"],
    }
    schema = http.post("/schemas", json={"name": canary["name"], **definition}).json()
    below = f"/schemas/{schema['id']}"
    data = {place: canary[place] for place in ("record", "sensitive", "indexed", "plain")}
    data[canary["member"]] = "1"
    made = http.post("/records", json={"schema": schema["id"], "data": data})
    assert made.status_code == 201, made.text
    path = f"/records/{made.json()['id']}"
    merged = http.patch(
        path,
        json={"more": canary["merged"]},
        headers={"If-Match": '"1"', "Content-Type": "application/merge-patch+json"},
    )
    assert merged.status_code == 200, merged.text
    patched = http.patch(
        path,
        json=[{"op": "add", "path": "/other", "value": canary["patched"]}],
        headers={"If-Match": '"2"', "Content-Type": "application/json-patch+json"},
    )
    assert patched.json()["data"]["other"] == canary["patched"]
    wrong = http.post(
        "/records", json={"schema": schema["id"], "data": {"number": canary["wrong"]}}
    )
    assert wrong.status_code == 422
    assert canary["wrong"] not in wrong.text
    found = http.post(f"{below}/search", json={"fields": {"/indexed": canary["indexed"]}})
    assert [record["id"] for record in found.json()["data"]] == [made.json()["id"]]
    assert http.post(f"{below}/search", json={"fields": {"/indexed": canary["asked"]}}).is_success
    assert http.put(below, json=definition, headers={"If-Match": '"1"'}).is_success
    patch = [{"op": "add", "path": "/new", "value": canary["migrated"]}]
    started = http.post(f"{below}/migrations", json={"patch": patch}).json()
    while http.get(f"{below}/migrations/{started['id']}").json()["finished_at"] is None:
        pass
    assert http.get(path).json()["data"]["new"] == canary["migrated"]

"""What is written into documents, uploads in parts, chats and embeddings is nowhere in the clear."""

from uuid import uuid4

import httpx2 as httpx
import openai

from tests.e2e.api import connect
from tests.e2e.conftest import Service
from tests.e2e.test_canary import holders, write_out

PLACES = (
    "file",
    "name",
    "metadata",
    "version",
    "renamed",
    "changed",
    "sealed",
    "upload",
    "part",
    "cancelled",
    "refused",
    "chat",
    "embedded",
)


def test_what_is_written_into_documents_and_chats_is_in_no_file(service: Service) -> None:
    tag = uuid4().hex
    canary = {place: f"the {place} canary {tag} sang at dawn" for place in PLACES}
    key = service.make_key("canary", "documents@example.org")
    with connect(f"{service.url}/v1", key) as http:
        write_documents(http, canary)
    with service.client(key) as client:
        write_uploads(client, canary)
        write_chats(client, canary)
    write_out(service.data_dir)
    for place in PLACES:
        assert holders(service.data_dir, canary[place]) == [], place
        assert canary[place] not in service.log(), place


def write_documents(http: httpx.Client, canary: dict[str, str]) -> None:
    made = http.post(
        "/documents",
        files={"file": (f"{canary['file']}.txt", canary["file"].encode())},
        data={"name": canary["name"], "metadata": f'{{"kind": "{canary["metadata"]}"}}'},
    )
    assert made.is_success, made.text
    path = f"/documents/{made.json()['id']}"
    added = http.post(
        f"{path}/versions",
        files={"file": ("second.txt", canary["version"].encode())},
        headers={"If-Match": made.headers["ETag"]},
    )
    assert added.is_success, added.text
    tag = http.get(path).headers["ETag"]
    changes = {"name": canary["renamed"], "metadata": {"kind": canary["changed"]}}
    changed = http.patch(path, json=changes, headers={"If-Match": tag})
    assert changed.json()["metadata"] == changes["metadata"]
    assert canary["version"] in http.get(f"{path}/content").text
    sealed = http.post(
        "/documents",
        files={"file": ("sealed.txt", canary["sealed"].encode())},
        data={"sealed": "true"},
    )
    assert sealed.is_success, sealed.text
    wrong = http.patch(path, json={"name": [canary["refused"]]}, headers={"If-Match": '"1"'})
    assert wrong.status_code == 400
    assert canary["refused"] not in wrong.text


def write_uploads(client: openai.OpenAI, canary: dict[str, str]) -> None:
    content = canary["part"].encode()
    upload = client.uploads.create(
        bytes=len(content),
        filename=f"{canary['upload']}.txt",
        mime_type="text/plain",
        purpose="user_data",
    )
    part = client.uploads.parts.create(upload.id, data=content)
    done = client.uploads.complete(upload.id, part_ids=[part.id])
    assert done.file is not None
    assert done.file.filename == f"{canary['upload']}.txt"
    left = client.uploads.create(
        bytes=100, filename="left.txt", mime_type="text/plain", purpose="user_data"
    )
    client.uploads.parts.create(left.id, data=canary["cancelled"].encode())
    assert client.uploads.cancel(left.id).status == "cancelled"


def write_chats(client: openai.OpenAI, canary: dict[str, str]) -> None:
    client.chat.completions.create(
        model="extractive", messages=[{"role": "user", "content": f"What did {canary['chat']}?"}]
    )
    embedded = client.embeddings.create(model="all-minilm-l6-v2", input=canary["embedded"])
    assert len(embedded.data[0].embedding) == 384

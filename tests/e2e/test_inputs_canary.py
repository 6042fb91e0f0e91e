"""What is written through any input of the API is in no file: as the OpenAPI document lists the inputs, all of them."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Final

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.canaries import Canaries
from tests.e2e.conftest import Service, running_service
from tests.e2e.test_canary import superuser, write_out
from tests.e2e.texts import Texts
from tests.e2e.writing import erase_everything, write_everywhere
from tests.servers.model_server import KEY, ModelServer

ERASURE: Final = Path(__file__).parents[2] / "docs" / "erasure.md"
READABLE: Final = {
    "records.plain": {"POST /v1/records data", "PUT /v1/records/{record_id} data"},
    "collections.metadata": {
        "POST /v1/vector_stores metadata",
        "POST /v1/vector_stores/{vector_store_id} metadata",
    },
    "collection_documents.attributes": {
        "POST /v1/vector_stores/{vector_store_id}/file_batches attributes",
        "POST /v1/vector_stores/{vector_store_id}/file_batches files",
        "POST /v1/vector_stores/{vector_store_id}/files attributes",
        "POST /v1/vector_stores/{vector_store_id}/files/{file_id} attributes",
    },
    "grants.sections": {
        "POST /v1/grants parts",
        "POST /v1/share-links parts",
        "POST /v1/access-requests/{request_id}/approve parts",
    },
    "schema_versions.personal_fields": {
        "POST /v1/schemas personal_fields",
        "PUT /v1/schemas/{schema_id} personal_fields",
    },
    "users.name": {"POST /v1/services name"},
    "groups.name": {"POST /v1/groups name", "PATCH /v1/groups/{group_id} name"},
}
"""The inputs whose texts stay readable, under the column that docs/erasure.md lists."""
REFERENCES: Final = {
    *("after", "branch", "parent", "siblings_of", "conversation", "previous_response_id"),
    *("resource", "schema", "notice", "document", "documents", "collections", "record"),
    *("file_id", "file_ids", "part_ids", "principal", "actor", "subject", "grantee", "tenant"),
    *("If-Match", "If-None-Match", "Range", "If-Range", "lock-token", "model", "events", "email"),
    *("grant_type", "token_type_hint", "scope", "audience", "issuer", "mime_type", "purpose"),
    *("subject_token_type", "actor_token_type", "requested_token_type"),
    *("expires_after[anchor]", "expires_after[seconds]"),
    *("subject_token", "actor_token", "refresh_token", "challenge", "token", "logit_bias"),
}
"""Name what there is: an id, an address, a tag, a token, a word of ours. A canary is sent there to be refused."""
REFUSED: Final = {
    "GET /v1/usage/daily user",
    "POST /v1/ui/chat messageId",
    "POST /v1/verify body",
    # Behind a code.
    "POST /v1/account/second-factor/recovery-codes current_password",
    "POST /v1/account/second-factor/removal current_password",
    "POST /v1/groups/{group_id}/members user",
    # A code out of a mail, or of a device.
    "POST /v1/account/password/code code",
    "POST /v1/account/verification/code code",
    "POST /v1/account/second-factor/confirmation code",
    "POST /v1/account/second-factor/recovery-codes code",
    "POST /v1/account/second-factor/removal code",
    "POST /v1/sessions/second-factor code",
    "POST /v1/share-links/redeem code",
}


@pytest.fixture(scope="module")
def watched(upstream: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """A service all of whose files, its temporary ones as well, are below one folder."""
    folder = tmp_path_factory.mktemp("inputs")
    temporary = folder / "tmp"
    temporary.mkdir()
    yield from running_service(
        folder / "data",
        {
            "TMPDIR": str(temporary),
            "UNDERCROFT_UPSTREAM_URL": upstream.base_url,
            "UNDERCROFT_UPSTREAM_KEY": KEY,
        },
    )


def test_what_is_written_through_any_input_is_in_no_file(watched: Service) -> None:
    canaries = Canaries()
    texts = Texts(httpx.get(f"{watched.url}/openapi.json", timeout=60).json())
    write_everywhere(watched, canaries)
    expected = {
        place for place in texts.places() - REFUSED if place.split(" ")[2] not in REFERENCES
    }
    assert expected <= canaries.kept, sorted(expected - canaries.kept)
    readable = set[str]().union(*READABLE.values())
    assert places_in_files(watched, canaries).keys() == readable
    assert asyncio.run(tables_with(watched.data_dir, canaries.tag))
    erase_everything(watched, canaries)
    assert asyncio.run(tables_with(watched.data_dir, canaries.tag)) == []
    refuse_everywhere(watched, canaries, texts)
    found = places_in_files(watched, canaries)
    assert [(place, found[place]) for place in found.keys() - readable] == []


def places_in_files(service: Service, canaries: Canaries) -> dict[str, set[str]]:
    """Where what is readable in the service's files was written, and those files."""
    write_out(service.data_dir)
    return canaries.found_below(service.data_dir.parent)


async def tables_with(data_dir: Path, text: str) -> list[str]:
    """The tables with a row in which a text is, as text or as bytes."""
    async with superuser(data_dir) as connection:
        tables = await connection.fetch(
            "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'"
        )
        return [
            table["name"]
            for table in tables
            if await connection.fetchval(
                f"SELECT EXISTS (SELECT FROM {table['name']} AS row"
                " WHERE strpos(row::text, $1) > 0 OR strpos(row::text, $2) > 0)",
                text,
                text.encode().hex(),
            )
        ]


def test_the_docs_list_what_stays_readable() -> None:
    listed = ERASURE.read_text()
    assert [column for column in READABLE if f"| `{column}` |" not in listed] == []


def refuse_everywhere(service: Service, canaries: Canaries, texts: Texts) -> None:
    """Each operation, with a canary for every text, also for ids: most of it is refused."""
    key = service.make_key("refused", "refused@example.org", "admin")
    with connect(service.url, key) as client:
        for method, path, asked in texts.requests(canaries.say):
            canaries.note(f"{method} {path}", asked)
            assert client.request(method, path, **asked).status_code < 500, (method, path)

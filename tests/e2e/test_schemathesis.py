"""Nothing that fits the OpenAPI document, or just misses it, gives a 500 or an answer that the document does not name.

Schemathesis runs as its users run it: a program of its own, over real HTTP, with a valid key.
"""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Service

EXAMPLES: Final = int(os.environ.get("UNDERCROFT_TEST_SCHEMATHESIS_EXAMPLES", "3"))
"""Random requests for an operation, after the systematic ones at the borders of its schema."""
_LIMIT_SECONDS: Final = 600 + 100 * EXAMPLES
_OPERATIONS: Final = 211

pytestmark = [pytest.mark.timeout(_LIMIT_SECONDS + 100), pytest.mark.slow]

_CONFIGURATION: Final = """
# The same requests in each run: a run that fails must fail again.
seed = 1
# More are threads, in which Python 3.11 cannot parse two sources at once, as Hypothesis does to describe a lambda.
workers = 1
continue-on-failure = true
max-failures = 20
request-timeout = 60
[generation]
deterministic = true
database = "none"
max-examples = {examples}
[phases.stateful]
enabled = false

# What is wrong may also be too large, and that is found first.
[checks.negative_data_rejection]
expected-statuses = [
    "400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"
]

[parameters]
vector_store_id = "{store_id}"
file_id = "{file_id}"
batch_id = "{batch_id}"
document_id = "{file_id}"
response_id = "{response_id}"
conversation_id = "{conversation_id}"
chat_id = "{conversation_id}"
item_id = "{item_id}"
log = "{log}"
entry_id = "{entry_id}"
schema_id = "{schema_id}"
record_id = "{record_id}"
number = 1

# Where several fit, the first decides. These paths are those of a session and a consent as well,
# which take other methods.
[[operations]]
include-path = ["/v1/sessions/refresh", "/v1/sessions/second-factor"]
checks.allow_header_conformance.enabled = false
checks.positive_data_acceptance.expected-statuses = ["400", "401", "429"]
[[operations]]
include-path = "/v1/consents/withdraw-all"
checks.allow_header_conformance.enabled = false
# Whoever turns this on may do nothing more before they have enrolled.
[[operations]]
include-name = "PUT /v1/second-factor-policy"
enabled = false
# What is well-formed may be nobody's password, code, token, group or consent, and nobody is sent too many mails.
[[operations]]
include-path-regex = "^/v1/(account|groups|issuers|oauth|outside|se(cond-factor|rvice|ssion)|sign-up|user|webhooks)"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "304", "400", "401", "403", "404", "409", "412", "422", "428", "429"
]
# What is well-formed may be no user, key, period or day.
[[operations]]
include-path-regex = "^/v1/(quotas|usage/daily)"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "404", "409"]
[[operations]]
include-path-regex = "^/v1/(grants|access|share-links|consents|consent-notices|data-subjects|notices|search)"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "304", "400", "403", "404", "409", "412", "422", "428", "429"
]
# A document's erasure and deletion name one that is absent: those that the other
# operations read must stay.
[[operations]]
include-name = ["POST /v1/documents/{{document_id}}/erase", "DELETE /v1/documents/{{document_id}}"]
parameters = {{ document_id = "file-{absent}" }}
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404"]
# A change needs the ETag of what was read, a range may be of nothing, and only admins place holds. An Idempotency-Key
# is 422 where another request brought it: there are few that satisfy its schema and are as short as these.
[[operations]]
include-path-regex = "^/v1/documents"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "304", "400", "403", "404", "409", "410", "412", "415", "416", "422", "428"
]
# A schema has rules of its own, data has to match it, a patch has to apply, and a change needs the ETag.
[[operations]]
include-path-regex = "^/v1/(records|schemas)"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "304", "400", "403", "404", "409", "412", "415", "422", "423", "428"
]
# What is well-formed may still make no sense, and then it is 400: an empty file, a question of spaces, vectors of
# another length.
[[operations]]
include-path-regex = "^/v1/(files|responses|conversations|chat/completions|embeddings|ui/chat)"
include-method = "POST"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "413", "415", "422"]
[[operations]]
include-path = "/v1/vector_stores/{{vector_store_id}}/search"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
[[operations]]
include-path-regex = "^/v1/(uploads|vector_stores|verification-links)"
include-method = "POST"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "410", "422"]
# A tree may be smaller than the size that is asked for.
[[operations]]
include-path = ["/v1/ledger/inclusion", "/v1/ledger/consistency"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
# The objects that the other operations read must stay.
[[operations]]
include-method = "DELETE"
[operations.parameters]
vector_store_id = "vs_{absent}"
file_id = "file-{absent}"
response_id = "resp_{absent}"
conversation_id = "conv_{absent}"
schema_id = "schema_{absent}"
record_id = "rec_{absent}"
"""


@pytest.fixture(scope="module")
def configuration(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings for schemathesis that name real objects, so that requests get past 404."""
    with service.client(service.make_key("schemathesis", "owner@example.org", "admin")) as client:
        store = client.vector_stores.create(name="schemathesis")
        file = client.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("fog.txt", io.BytesIO(b"The fog bell rings at six."))
        )
        batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=[file.id])
        response = client.responses.create(model="extractive", input="When does the bell ring?")
        conversation = client.conversations.create(
            items=[{"role": "user", "content": "When does the bell ring?"}]
        )
        (item,) = client.conversations.items.list(conversation.id).data
        schema: Any = client.post("/schemas", body={"name": "any", "schema": {}}, cast_to=object)
        record: Any = client.post(
            "/records", body={"schema": schema["id"], "data": {}}, cast_to=object
        )
        ledger: Any = client.get("/ledger", cast_to=object)
        audit: Any = client.get("/audit", cast_to=object)
        key = client.api_key
    folder = tmp_path_factory.mktemp("schemathesis")
    path = folder / "schemathesis.toml"
    text = _CONFIGURATION.format(
        examples=EXAMPLES,
        store_id=store.id,
        file_id=file.id,
        batch_id=batch.id,
        response_id=response.id,
        conversation_id=conversation.id,
        item_id=item.id,
        log=ledger["id"],
        entry_id=audit["data"][0]["id"],
        schema_id=schema["id"],
        record_id=record["id"],
        absent="0" * 32,
    )
    path.write_text(text)
    (folder / "key").write_text(key)
    return path


@pytest.fixture(scope="module")
def report(service: Service, configuration: Path) -> subprocess.CompletedProcess[str]:
    key = (configuration.parent / "key").read_text()
    return subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "--config-file"),
            *(str(configuration), "run", f"{service.url}/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {key}"),
        ],
        cwd=configuration.parent,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )


def test_every_operation_keeps_to_the_document(report: subprocess.CompletedProcess[str]) -> None:
    assert report.returncode == 0, report.stdout[-20_000:] + report.stderr[-2_000:]
    assert f"Tested: {_OPERATIONS}" in report.stdout


def test_the_service_is_well_afterwards(
    service: Service, report: subprocess.CompletedProcess[str]
) -> None:
    del report
    assert httpx.get(f"{service.url}/readyz", timeout=30).status_code == 200
    log = service.log()
    assert "unexpected_error" not in log
    assert "stream_failed" not in log

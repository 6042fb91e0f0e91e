"""What no client should send, byte by byte, is refused with a reason and never a 5xx."""

import socket
from collections.abc import Generator
from typing import Final

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import Service

JSON_PATHS: Final = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/vector_stores",
    "/v1/vector_stores/vs_{id}",
    "/v1/vector_stores/vs_{id}/search",
    "/v1/vector_stores/vs_{id}/file_batches",
    "/v1/vector_stores/vs_{id}/files",
    "/v1/vector_stores/vs_{id}/files/file-{id}",
    "/v1/uploads",
    "/v1/uploads/upload_{id}/complete",
    "/v1/schemas",
    "/v1/schemas/schema_{id}/search",
    "/v1/schemas/schema_{id}/migrations",
    "/v1/records",
    "/v1/records/rec_{id}/lock",
)
ID_PATHS: Final = (
    ("GET", "/v1/files/{}"),
    ("DELETE", "/v1/files/{}"),
    ("GET", "/v1/files/{}/content"),
    ("GET", "/v1/vector_stores/{}"),
    ("DELETE", "/v1/vector_stores/{}"),
    ("GET", "/v1/vector_stores/{}/files"),
    ("GET", "/v1/vector_stores/vs_{id}/files/{}"),
    ("GET", "/v1/vector_stores/vs_{id}/file_batches/{}"),
    ("POST", "/v1/vector_stores/vs_{id}/file_batches/{}/cancel"),
    ("GET", "/v1/vector_stores/vs_{id}/file_batches/{}/files"),
    ("GET", "/v1/responses/{}"),
    ("DELETE", "/v1/responses/{}"),
    ("GET", "/v1/jobs/{}"),
    ("GET", "/v1/models/{}"),
    ("GET", "/v1/files?after={}"),
    ("GET", "/v1/files?purpose={}"),
    ("GET", "/v1/files?limit={}"),
    ("GET", "/v1/vector_stores?after={}"),
    ("GET", "/v1/jobs?state={}"),
    ("GET", "/v1/documents/{}"),
    ("GET", "/v1/documents/{}/content"),
    ("GET", "/v1/documents/file-{id}/versions/{}"),
    ("GET", "/v1/documents/file-{id}/versions/{}/receipt"),
    ("GET", "/v1/documents/file-{id}/versions?after={}"),
    ("POST", "/v1/documents/{}/erase"),
    ("DELETE", "/v1/documents/{}/legal-hold"),
    ("POST", "/v1/uploads/{}/cancel"),
    ("POST", "/v1/uploads/{}/parts"),
    ("GET", "/v1/records/{}"),
    ("GET", "/v1/records/rec_{id}?version={}"),
    ("GET", "/v1/records?schema={}"),
    ("GET", "/v1/records?after={}"),
    ("GET", "/v1/schemas/{}"),
    ("GET", "/v1/schemas/schema_{id}/versions?after={}"),
    ("GET", "/v1/schemas/schema_{id}/migrations/{}"),
    ("GET", "/v1/audit/{}"),
    ("GET", "/v1/audit/{}/proof"),
    ("GET", "/v1/audit?after={}"),
    ("GET", "/v1/audit?from={}"),
    ("GET", "/v1/ledger/inclusion?index={}"),
    ("GET", "/v1/ledger/consistency?from={}"),
)
IDS: Final = (
    "%00",
    "file-%00",
    "%FF%FE",
    "%ED%A0%80",
    "%F0%9F%94%91",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5c",
    "a%0d%0aX-Injected:%20yes",
    "%25s%25n",
    "'%20OR%201=1--",
    "file-" + "0" * 31,
    "file-" + "0" * 33,
    "FILE-" + "0" * 32,
    "file-" + "%EF%BC%90" * 32,  # digits, but not ours
    "-1",
    "1e309",
    "NaN",
    "9" * 400,
    "a" * 20_000,
)
BODIES: Final = (
    (b"", "application/json"),
    (b"null", "application/json"),
    (b"[]", "application/json"),
    (b'"text"', "application/json"),
    (b"1e999", "application/json"),
    (b"NaN", "application/json"),
    (b'{"input": Infinity}', "application/json"),
    (b"9" * 5000, "application/json"),
    (b'{"input": ' + b"9" * 5000 + b"}", "application/json"),
    (b'{"metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "application/json"),
    (b"\x00" * 100, "application/json"),
    (b"\xef\xbb\xbf[]", "application/json"),
    ('{"input": "é"}'.encode("latin-1"), "application/json; charset=latin-1"),
    (b"{}", "application/json; charset=no-such-charset"),
    (b"{}", "text/plain"),
    (b"{}", "application/xml"),
    (b"<a/>", "text/xml"),
    (b"input=a", "application/x-www-form-urlencoded"),
    (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
    (b"{}", "/"),
    (b"{}", "application/json" * 500),
    (bytes(range(256)) * 10, "application/octet-stream"),
)


def part(disposition: str, content: bytes = b"text", *headers: str) -> bytes:
    """One part of a form with the boundary ``x``."""
    head = "\r\n".join([f"Content-Disposition: {disposition}", *headers])
    return b"--x\r\n" + head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content + b"\r\n"


FILE: Final = part('form-data; name="file"; filename="a.txt"')
PURPOSE: Final = part('form-data; name="purpose"', b"user_data")
END: Final = b"--x--\r\n"
FORMS: Final = {
    "nothing": b"",
    "only an end": END,
    "no end": FILE + PURPOSE[:-2],
    "cut in a header": b"--x\r\nContent-Dispo",
    "cut in the boundary": FILE + PURPOSE + b"--",
    "no blank line": b"--x\r\nContent-Disposition: form-data; name=file\r\n" + END,
    "no name": part('form-data; filename="a.txt"') + PURPOSE + END,
    "no disposition": b"--x\r\n\r\ntext\r\n" + PURPOSE + END,
    "no file name": part('form-data; name="file"') + PURPOSE + END,
    "a purpose that is a file": FILE + part('form-data; name="purpose"; filename="p"') + END,
    "an unknown purpose": FILE + part('form-data; name="purpose"', b"\xff\x00") + END,
    "another boundary": (FILE + PURPOSE + END).replace(b"--x", b"--y"),
    "many fields": PURPOSE * 3000 + END,
    "many files": FILE * 3000 + PURPOSE + END,
    "a long header": part('form-data; name="file"; filename="a"', b"", "X: " + "a" * 100_000) + END,
    "many headers": part('form-data; name="file"; filename="a"', b"", *["X: a"] * 5000) + END,
    "a long field": part('form-data; name="purpose"', b"a" * 1_900_000) + FILE + END,
    "rubbish": bytes(range(256)) * 50,
    "an extra field": FILE + PURPOSE + part('form-data; name="extra"') + END,
    "nested": part('form-data; name="file"', FILE, "Content-Type: multipart/mixed; boundary=y")
    + END,
}
ODD_FORMS: Final = {
    "two of each": FILE * 2 + PURPOSE * 2 + END,
    "an odd file name": part('form-data; name="file"; filename="\udcff\udcfe\u202e"')
    + PURPOSE
    + END,
    "a long file name": part(f'form-data; name="file"; filename="{"a" * 3000}"') + PURPOSE + END,
    "a lying type": part('form-data; name="file"; filename="a"', b"text", "Content-Type: \x01/")
    + PURPOSE
    + END,
    "something before and after": b"preamble\r\n" + FILE + PURPOSE + END + b"epilogue",
}
"""Those that may be taken: what is meant is clear."""


@pytest.fixture(scope="module")
def http(service: Service) -> Generator[httpx.Client]:
    with connect(service.url, service.key) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_unexpected(service: Service) -> Generator[None]:
    """No test of these may make the service log a defect."""
    before = service.log().count("unexpected_error")
    yield
    assert service.log().count("unexpected_error") == before


def assert_refused(answer: httpx.Response) -> None:
    """A 4xx with a reason, in the shape of the OpenAI faces."""
    assert 400 <= answer.status_code < 500, answer.text[:500]
    error = answer.json()["error"]
    assert 0 < len(error["message"]) < 1000
    assert "Traceback" not in error["message"]
    assert "X-Injected" not in answer.headers


@pytest.mark.parametrize("path", JSON_PATHS)
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, path: str) -> None:
    for content, media_type in BODIES:
        answer = http.post(
            path.replace("{id}", "0" * 32), content=content, headers={"Content-Type": media_type}
        )
        if path == "/v1/vector_stores" and content == b"{}" and "json" in media_type:
            continue  # there an empty object is a request
        assert_refused(answer)


@pytest.mark.parametrize(("method", "path"), ID_PATHS)
def test_a_strange_id_is_refused(http: httpx.Client, method: str, path: str) -> None:
    for text in IDS:
        answer = http.request(method, path.replace("{id}", "0" * 32).replace("{}", text))
        if answer.status_code == 200 and "purpose" in path:
            continue  # a filter that matches nothing
        assert_refused(answer)


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_a_malformed_form_is_refused(http: httpx.Client, content: bytes) -> None:
    answer = http.post(
        "/v1/files", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert_refused(answer)


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "zlib", "undefined", "x" * 300])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/documents"])
def test_a_form_in_another_encoding_is_refused(http: httpx.Client, path: str, charset: str) -> None:
    names = "".join(chr(ord("a") + n) for n in range(15))
    fields = [part(f'form-data; name="{name}-"', b"-" + b"a" * 60_000) for name in names]
    answer = http.post(
        path,
        content=b"".join([*fields, FILE, PURPOSE, END]),
        headers={"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"},
    )
    assert_refused(answer)
    assert answer.status_code == 415


@pytest.mark.parametrize("content", ODD_FORMS.values(), ids=ODD_FORMS)
def test_an_odd_form_is_taken_or_refused(http: httpx.Client, content: bytes) -> None:
    answer = http.post(
        "/v1/files", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    if answer.status_code != 200:
        assert_refused(answer)
    else:
        assert len(answer.json()["filename"]) <= 255
        assert answer.json()["filename"].isprintable()


@pytest.mark.parametrize(
    "media_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=" + b"x" * 5000,
        b"multipart/form-data; boundary=\xff\xfe",
        b"multipart/form-data; charset=no-such-charset",
        b"multipart/",
        b"\xff\xfe",
        b"",
    ],
)
def test_a_form_of_a_strange_type_is_refused(http: httpx.Client, media_type: bytes) -> None:
    headers = [(b"Content-Type", media_type)]
    assert_refused(http.post("/v1/files", content=FILE + PURPOSE + END, headers=headers))


@pytest.mark.parametrize(
    "authorization",
    [
        b"Bearer",
        b"Basic dTpw",
        b"Bearer \xff\xfe",
        b"Bearer " + b"a" * 50_000,
        b"bearer uk_\x7f",
        b"Bearer uk_aaaaaaaa_" + b"'" * 43,
        b"\x01",
    ],
)
def test_a_strange_key_is_401(service: Service, authorization: bytes) -> None:
    answer = httpx.get(
        f"{service.url}/v1/files", headers=[(b"Authorization", authorization)], timeout=60
    )
    assert answer.status_code in {400, 401}
    assert "WWW-Authenticate" in answer.headers or answer.status_code == 400


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\xff\x16\x03\x01" * 50,
        b"GET\r\n\r\n",
        b"GET /v1/files HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
        b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_what_is_no_http_is_no_5xx(service: Service, request_bytes: bytes) -> None:
    url = httpx.URL(service.url)
    with socket.create_connection((url.host, url.port or 0), timeout=60) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while received := connection.recv(65536):
                answer += received
        except ConnectionResetError:
            pass  # closed before all of it was read, which is an answer too
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:500]
    assert httpx.get(f"{service.url}/healthz", timeout=60).status_code == 200

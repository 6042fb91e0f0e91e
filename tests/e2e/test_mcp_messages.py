"""Messages at /mcp as the official SDK's client does not send them: what is wrong with each is said."""

from tests.e2e.api import connect
from tests.e2e.assistants import PING, send
from tests.e2e.conftest import Service


def test_whoever_shows_no_credential_learns_nothing(service: Service) -> None:
    for key in (None, "uk_" + "a" * 43, "x" * 9000):
        for message in (PING, b"{", b"x" * 100_000):
            answer = send(service.url, key, message)
            assert answer.status_code == 401, answer.text
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Content-Type"] == "application/problem+json"


def test_there_are_no_streams_and_no_sessions(service: Service) -> None:
    for method in ("GET", "DELETE", "PUT"):
        with connect(service.url, service.key) as client:
            answer = client.request(method, "/mcp", headers={"Accept": "text/event-stream"})
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = send(service.url, service.key, listed, Mcp_Session_Id="none")
    assert answer.status_code == 200
    assert "Mcp-Session-Id" not in answer.headers
    assert send(service.url, service.key, listed, Idempotency_Key="again").status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_pages_of_other_sites_are_refused(service: Service, configured_service: Service) -> None:
    host = service.url.removeprefix("http://")
    assert send(service.url, service.key, PING, Origin=service.url).status_code == 200
    for origin in (
        "https://evil.example",
        f"http://{host}.evil.example",
        "null",
        "http://[",
        "http://127.0.0.1",
    ):
        answer = send(service.url, service.key, PING, Origin=origin)
        assert (answer.status_code, answer.json()["code"]) == (403, "unknown_origin"), origin
    # The page's own name, made to lead here.
    named = {"Origin": "http://evil.example", "Host": "evil.example"}
    assert send(service.url, service.key, PING, **named).status_code == 400
    key, app = configured_service.key, "https://app.example.org"
    assert send(configured_service.url, key, PING, Origin=app).status_code == 200
    assert send(configured_service.url, key, PING, Origin="https://example.org").status_code == 403


def test_what_is_no_message_is_refused_with_what_to_send(service: Service) -> None:
    for message in (
        b"",
        b"{",
        b"\xff",
        b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping"}',
        b"[" * 5000,
        b'{"jsonrpc": "2.0", "id": 1e999, "method": "ping"}',
    ):
        answer = send(service.url, service.key, message)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700), message[:60]
    for message in (
        [],
        [PING],
        "ping",
        {},
        {**PING, "jsonrpc": "1.0"},
        {**PING, "method": 1},
        {**PING, "id": True},
        {**PING, "id": None},
        {**PING, "id": 1.5},
        {**PING, "params": []},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "a"}},
    ):
        answer = send(service.url, service.key, message)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600), message
        assert "'jsonrpc'" in answer.json()["error"]["message"]
    assert send(service.url, service.key, PING, Content_Type="text/plain").status_code == 415
    assert send(service.url, service.key, PING, Accept="text/html").status_code == 400
    assert send(service.url, service.key, b'"' + b"x" * 300_000 + b'"').status_code == 413
    with connect(service.url, service.key) as client:
        assert client.post("/mcp?token=1", json=PING).status_code == 400


def test_unknown_methods_revisions_and_tools_are_errors_of_the_protocol(service: Service) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
    for message, code in (
        ({**PING, "method": "resources/list"}, -32601),
        ({**PING, "method": "x" * 1000}, -32601),
        ({**call, "params": {"name": "delete_everything"}}, -32602),
        ({**call, "params": {"name": 5}}, -32602),
        ({**call, "params": {"name": "search", "arguments": []}}, -32602),
        (call, -32602),
    ):
        answer = send(service.url, service.key, message)
        assert answer.status_code < 500
        assert answer.json()["error"]["code"] == code, answer.text
        assert len(answer.text) < 2000
    answer = send(service.url, service.key, PING, Mcp_Protocol_Version="2099-01-01")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert send(service.url, service.key, note).status_code == 202

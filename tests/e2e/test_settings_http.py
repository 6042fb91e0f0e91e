"""What is closed by default, what opens it, and how a service that cannot start says why."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx2 as httpx

from tests.e2e.conftest import Service

ORIGIN: Final = "https://app.example.org"
PREFLIGHT: Final = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "Authorization, Content-Type",
}


def cross_origin_headers(answer: httpx.Response) -> dict[str, str]:
    """What a browser goes by."""
    names = [name for name in answer.headers if name.lower().startswith("access-control-")]
    return {name.lower(): answer.headers[name] for name in names}


def fail_to_serve(data_dir: Path, *options: str, **settings: str) -> str:
    """Start a service that cannot start; the one line that it says."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "undercroft", "serve"),
            *("--port", "0", "--data-dir", str(data_dir), *options),
        ],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    *logged, said = ended.stderr.splitlines()
    assert not [line for line in logged if not line.startswith("{")], ended.stderr
    assert said.startswith("undercroft: ")
    assert "Traceback" not in ended.stderr + ended.stdout
    return said


def test_no_browser_may_call_by_default(service: Service) -> None:
    key = {"Authorization": f"Bearer {service.key}"}
    asked = httpx.get(f"{service.url}/v1/models", headers={**key, "Origin": ORIGIN})
    assert asked.status_code == 200
    assert cross_origin_headers(asked) == {}
    preflight = httpx.options(
        f"{service.url}/v1/responses", headers={**PREFLIGHT, "Origin": ORIGIN}
    )
    assert preflight.status_code == 405
    assert cross_origin_headers(preflight) == {}


def test_the_configured_origin_may_call_and_no_other(configured_service: Service) -> None:
    url = f"{configured_service.url}/v1/models"
    key = {"Authorization": f"Bearer {configured_service.key}"}
    allowed = httpx.options(url, headers={**PREFLIGHT, "Origin": ORIGIN})
    assert allowed.status_code == 200
    assert cross_origin_headers(allowed)["access-control-allow-origin"] == ORIGIN
    # An SDK in a browser sends headers of its own, and reads those of the answer.
    of_an_sdk = {"Access-Control-Request-Headers": "authorization,if-match,x-stainless-lang"}
    sdk = httpx.options(url, headers={**PREFLIGHT, **of_an_sdk, "Origin": ORIGIN})
    assert sdk.status_code == 200
    asked = httpx.get(url, headers={**key, "Origin": ORIGIN})
    assert cross_origin_headers(asked)["access-control-allow-origin"] == ORIGIN
    assert "Location" in cross_origin_headers(asked)["access-control-expose-headers"]
    # A key is sent by the page itself; the browser's own credentials are of no use here.
    assert "access-control-allow-credentials" not in cross_origin_headers(asked)

    for other in ("https://example.org", "https://app.example.org.evil.test", "null"):
        refused = httpx.options(url, headers={**PREFLIGHT, "Origin": other})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in cross_origin_headers(refused)
        answered = httpx.get(url, headers={**key, "Origin": other})
        assert "access-control-allow-origin" not in cross_origin_headers(answered)


def test_an_error_can_be_read_by_the_configured_origin(configured_service: Service) -> None:
    answer = httpx.get(f"{configured_service.url}/v1/models", headers={"Origin": ORIGIN})
    assert answer.status_code == 401
    assert cross_origin_headers(answer)["access-control-allow-origin"] == ORIGIN


def test_only_the_listed_hosts_are_served(service: Service, configured_service: Service) -> None:
    def status(target: Service, host: str) -> int:
        return httpx.get(f"{target.url}/healthz", headers={"Host": host}).status_code

    port = httpx.URL(service.url).port
    for host in ("localhost", "127.0.0.1", f"localhost:{port}", f"[::1]:{port}"):
        assert status(service, host) == 200
    for host in ("api.example.org", "localhost.evil.test", "evil.test:80", ""):
        refused = httpx.get(f"{service.url}/healthz", headers={"Host": host})
        assert refused.status_code == 400
        assert "host" in refused.json()["detail"].lower()
    assert status(configured_service, "api.example.org") == 200
    assert status(configured_service, "localhost") == 400


def test_an_unknown_setting_is_refused_by_name(tmp_path: Path) -> None:
    said = fail_to_serve(tmp_path / "data", UNDERCROFT_MAX_UPLAOD_BYTES="1")
    assert "UNDERCROFT_MAX_UPLAOD_BYTES" in said
    assert not (tmp_path / "data").exists()


def test_a_wrong_setting_is_refused_by_name_and_not_repeated(tmp_path: Path) -> None:
    said = fail_to_serve(tmp_path / "data", UNDERCROFT_UPSTREAM_URL="sk-not-a-url")
    assert "upstream_url" in said
    assert "sk-not-a-url" not in said


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = fail_to_serve(tmp_path / "data", "--port", port)
    assert port in said
    assert "in use" in said
    assert not (tmp_path / "data").exists()


def test_a_data_folder_belongs_to_one_service(service: Service) -> None:
    said = fail_to_serve(service.data_dir)
    assert str(service.data_dir) in said
    assert httpx.get(f"{service.url}/readyz", timeout=30).status_code == 200


def test_services_in_different_folders_know_nothing_of_each_other(
    service: Service, configured_service: Service
) -> None:
    for target, other in ((service, configured_service), (configured_service, service)):
        headers = {"Authorization": f"Bearer {target.key}"}
        assert httpx.get(f"{target.url}/v1/files", headers=headers).status_code == 200
        assert httpx.get(f"{other.url}/v1/files", headers=headers).status_code == 401

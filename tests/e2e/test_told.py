"""Who is told what over real HTTP: a receiver by signed events, people by mail, also after the service was killed."""

import signal
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import psutil
import pytest
from standardwebhooks import Webhook

from tests.e2e.conftest import make_key, start_service, stop_service
from tests.servers.webhook_receiver import Receiver, running_receiver
from undercroft.notifications.events import EVENT_TYPES

_SETTINGS: Final = {
    "UNDERCROFT_EGRESS_PRIVATE_NETWORKS": "127.0.0.0/8",
    "UNDERCROFT_EGRESS_ALLOW_HTTP": "true",
}
_TENANT: Final = "orchard"
_MAIL_SECONDS: Final = 60.0


@dataclass(slots=True)
class Orchard:
    """A service whose admin has a receiver told everything."""

    data_dir: Path
    receiver: Receiver
    process: subprocess.Popen[bytes]
    url: str
    keys: dict[str, str]
    secret: str = ""

    def kill_and_restart(self) -> None:
        """End it as a power cut would, and start it again."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.process.kill()
        self.process.wait()
        self.process, self.url = start_service(self.data_dir, _SETTINGS)

    def call(self, who: str, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - a body
        answer = httpx.request(
            method,
            f"{self.url}/v1{path}",
            headers={"Authorization": f"Bearer {self.keys[who]}"},
            timeout=60,
            **request,
        )
        assert answer.status_code < 300, answer.text
        return answer

    def hear(self, wanted: set[str]) -> dict[str, dict[str, Any]]:
        """What is told until all of these were, each verified as a receiver would."""
        heard: dict[str, dict[str, Any]] = {}
        while not wanted <= set(heard):
            message = self.receiver.next_message()
            read = Webhook(self.secret).verify(message.body.encode(), message.headers)
            heard[read["type"]] = read["data"]
        return heard

    def read_mail(self, to: str, subject: str) -> str:
        """The text of somebody's letter; the outbox stands for a mailbox."""
        deadline = time.monotonic() + _MAIL_SECONDS
        while time.monotonic() < deadline:
            for path in (self.data_dir / "outbox").glob("*.eml"):
                mail = message_from_bytes(path.read_bytes(), policy=policy.default)
                if mail["To"] == to and subject in mail["Subject"]:
                    return str(mail.get_content())
            time.sleep(0.1)  # another process writes it; only it knows when
        raise AssertionError(f"no mail to {to} about {subject}")


@pytest.fixture
def orchard(tmp_path: Path) -> Generator[Orchard]:
    data_dir = tmp_path / "data"
    with running_receiver() as receiver:
        process, url = start_service(data_dir, _SETTINGS)
        roles = {"ada": "admin", "ann": "member", "bob": "member"}
        keys = {
            name: make_key(data_dir, _TENANT, f"{name}@orchard.example", role)
            for name, role in roles.items()
        }
        orchard = Orchard(data_dir, receiver, process, url, keys)
        body = {"url": receiver.url("take"), "events": sorted(EVENT_TYPES)}
        orchard.secret = orchard.call("ada", "POST", "/webhooks", json=body).json()["secret"]
        try:
            yield orchard
        finally:
            stop_service(orchard.process)


def test_a_question_and_its_answer_are_told(orchard: Orchard) -> None:
    upload = {"file": ("gate.txt", b"The iron key is in the pantry.", "text/plain")}
    document = orchard.call("ann", "POST", "/documents", files=upload).json()["id"]
    question = {"resource": document, "actions": ["read"], "message": "May I see the iron key?"}
    request = orchard.call("bob", "POST", "/access-requests", json=question).json()["id"]
    asked = orchard.hear({"access_request.created"})["access_request.created"]
    assert asked["access_request"] == request
    letter = orchard.read_mail("ann@orchard.example", "asks for access")
    assert "/v1/access-requests" in letter
    assert "iron" not in letter
    approved = orchard.call("ann", "POST", f"/access-requests/{request}/approve").json()
    heard = orchard.hear({"access_request.approved", "grant.created"})
    assert heard["access_request.approved"]["grant"] == approved["grant"]
    assert heard["grant.created"]["resource"] == document
    orchard.read_mail("bob@orchard.example", "answered")
    orchard.call("ann", "DELETE", f"/grants/{approved['grant']}")
    assert orchard.hear({"grant.revoked"})["grant.revoked"]["reason"] == "revoked"


def test_what_was_committed_is_told_after_a_crash(orchard: Orchard) -> None:
    upload = {"file": ("gate.txt", b"The iron key is in the pantry.", "text/plain")}
    document = orchard.call("ann", "POST", "/documents", files=upload).json()["id"]
    # Stopped, so that nothing can be told before the crash.
    for child in psutil.Process(orchard.process.pid).children(recursive=True):
        if "worker" in child.cmdline():
            child.send_signal(signal.SIGSTOP)
    grantee = {"user": "guest@elsewhere.example"}
    body = {"resource": document, "grantee": grantee, "actions": ["read"]}
    grant = orchard.call("ann", "POST", "/grants", json=body).json()["id"]
    orchard.kill_and_restart()
    heard = orchard.hear({"grant.created", "user.created"})
    assert heard["grant.created"]["grant"] == grant
    assert _TENANT in orchard.read_mail("guest@elsewhere.example", "shared with you")

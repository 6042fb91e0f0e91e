"""Every mailer there is, each with a way to read what it handed over."""

import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as MAIL_POLICY
from pathlib import Path
from typing import Final

import pytest

from tests.servers.mail_server import PASSWORD, USERNAME, MailServer, running_mail_server
from undercroft.kit.mail.outbox import OutboxFolder
from undercroft.kit.mail.protocol import Mailer
from undercroft.kit.mail.smtp import SmtpMailer, SmtpSecurity, SmtpServer

SENDER: Final = "service@undercroft.test"
PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Route:
    """A mailer, and how to read the last message that it handed over."""

    mailer: Mailer
    read: Callable[[], EmailMessage]


@pytest.fixture(scope="module")
def mail_server() -> Generator[MailServer]:
    with running_mail_server() as server:
        yield server


def smtp_mailer(
    server: MailServer,
    port: str,
    security: SmtpSecurity,
    *,
    password: str = PASSWORD,
    tls: ssl.SSLContext | None = None,
    deadline_seconds: float = PATIENCE,
) -> SmtpMailer:
    """A mailer for one of the test server's ports; it logs in wherever it may."""
    may_log_in = security != "none"
    target = SmtpServer(
        "127.0.0.1",
        server.ports[port],
        security,
        USERNAME if may_log_in else None,
        password if may_log_in else None,
    )
    return SmtpMailer(target, SENDER, tls or server.tls(), deadline_seconds)


@pytest.fixture(params=["outbox", "plain", "starttls", "tls"])
def route(request: pytest.FixtureRequest, tmp_path: Path) -> Route:
    """Each mailer in turn."""
    if request.param == "outbox":
        folder = tmp_path / "outbox"

        def read_file() -> EmailMessage:
            newest = max(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
            return parse_mail(newest.read_bytes())

        return Route(OutboxFolder(folder, SENDER), read_file)
    server: MailServer = request.getfixturevalue("mail_server")
    security: SmtpSecurity = "none" if request.param == "plain" else request.param
    return Route(
        smtp_mailer(server, request.param, security),
        lambda: parse_mail(server.next_message().content),
    )


def parse_mail(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=MAIL_POLICY)

"""The SMTP mailer against a server that refuses, stalls or is not who it says."""

import socket
import ssl
from datetime import UTC, datetime

import pytest

from tests.kit.mail.conftest import PATIENCE, SENDER, smtp_mailer
from tests.servers.mail_server import PASSWORD, USERNAME, MailServer
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.kit.mail.protocol import Mailer, MailNotSentError
from undercroft.kit.mail.smtp import SmtpMailer, SmtpServer

NOW = datetime(2026, 11, 29, tzinfo=UTC)


async def send(mailer: Mailer, to: str = "ada@example.org") -> None:
    await mailer.send(
        Message(to, "Hello", "Your code is 492118.\n"), mail_id=IdSource().new(), dated=NOW
    )


async def refusal(mailer: Mailer, to: str = "ada@example.org") -> MailNotSentError:
    with pytest.raises(MailNotSentError) as failed:
        await send(mailer, to)
    for secret in (PASSWORD, "492118", to):
        assert secret not in str(failed.value)
    return failed.value


async def test_it_logs_in_and_hands_over_to_one_person(mail_server: MailServer) -> None:
    await send(smtp_mailer(mail_server, "starttls", "starttls"))
    delivered = mail_server.next_message()
    assert delivered.sender == SENDER
    assert delivered.recipients == ["ada@example.org"]
    assert delivered.login == USERNAME


@pytest.mark.parametrize(
    ("to", "code", "permanent"),
    [
        ("refused@example.org", 550, True),
        ("later@example.org", 451, False),
        ("unwanted@example.org", 554, True),
    ],
)
async def test_what_the_server_refuses_for_good_is_not_tried_again(
    mail_server: MailServer, to: str, code: int, *, permanent: bool
) -> None:
    failure = await refusal(smtp_mailer(mail_server, "plain", "none"), to)
    assert str(code) in str(failure)
    assert failure.permanent is permanent


async def test_a_wrong_password_is_the_operators_to_mend(mail_server: MailServer) -> None:
    mailer = smtp_mailer(mail_server, "starttls", "starttls", password="wrong")
    failure = await refusal(mailer)
    assert "smtp_password" in str(failure)
    assert not failure.permanent


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_unknown_certificate_is_not_trusted(
    mail_server: MailServer, security: str
) -> None:
    assert security in {"starttls", "tls"}
    mailer = smtp_mailer(
        mail_server,
        security,
        "tls" if security == "tls" else "starttls",
        tls=ssl.create_default_context(),
    )
    failure = await refusal(mailer)
    assert "certificate" in str(failure)
    assert not failure.permanent


async def test_a_server_without_starttls_gets_no_message(mail_server: MailServer) -> None:
    # Without a login, which would be refused there by itself.
    server = SmtpServer("127.0.0.1", mail_server.ports["plain"], "starttls")
    await refusal(SmtpMailer(server, SENDER, mail_server.tls()))
    await send(smtp_mailer(mail_server, "plain", "none"), "bob@example.org")
    assert mail_server.next_message().recipients == ["bob@example.org"]


@pytest.mark.parametrize("port", ["silent", "endless"])
async def test_a_server_that_stalls_or_floods_is_given_up(
    mail_server: MailServer, port: str
) -> None:
    deadline = 0.5 if port == "silent" else PATIENCE
    failure = await refusal(smtp_mailer(mail_server, port, "none", deadline_seconds=deadline))
    assert not failure.permanent


async def test_a_server_that_is_not_there_is_said_to_be() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        server = SmtpServer("127.0.0.1", port, "none")
        failure = await refusal(SmtpMailer(server, SENDER, ssl.create_default_context()))
    assert "smtp_host" in str(failure)
    assert not failure.permanent

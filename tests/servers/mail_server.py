"""A mail server for tests: aiosmtpd in a process of its own, that misbehaves on request.

The recipient's name chooses the behaviour: ``refused``, ``later`` and ``unwanted`` are answered 550, 451 and, after the
message, 554. Run ``python -m tests.servers.mail_server``: it prints where it listens, then each message that it took,
one JSON object a line, and ends when its input does. In a test, use :func:`running_mail_server`.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import json
import ssl
import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as MAIL_POLICY
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.program import Program, running_program

USERNAME: Final = "undercroft"
PASSWORD: Final = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message as the server took it."""

    sender: str
    recipients: list[str]
    content: bytes
    login: str | None

    def parsed(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=MAIL_POLICY)


class MailServer:
    """A running server.

    Attributes:
        ports: ``plain``, ``starttls``, ``tls``; ``silent`` says nothing, ``endless`` never ends its greeting.
        certificate: To trust.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        first = self._read()
        self.ports: dict[str, int] = first["ports"]
        self.certificate = Path(first["certificate"])

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def next_message(self) -> Delivered:
        """The next message that was taken; waits for it."""
        line = self._read()
        return Delivered(
            line["sender"], line["recipients"], Path(line["file"]).read_bytes(), line["login"]
        )

    def _read(self) -> dict[str, Any]:
        return json.loads(self._program.read_line())


@contextlib.contextmanager
def running_mail_server() -> Generator[MailServer]:
    """Runs the server while the context is open."""
    command = (sys.executable, "-W", "ignore", "-m", "tests.servers.mail_server")
    with running_program(*command) as program:
        yield MailServer(program)


class _Handler:
    """What aiosmtpd calls. Messages go into files: one could fill the pipe, and nobody reads that meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = itertools.count()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if address.startswith("refused@"):
            return f"550 No such person as {address}"
        if address.startswith("later@"):
            return "451 Come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        del server
        if envelope.rcpt_tos[0].startswith("unwanted@"):
            return "554 Not here"
        assert isinstance(envelope.original_content, bytes)
        file = self._folder / f"{next(self._count)}.eml"
        file.write_bytes(envelope.original_content)
        _say(
            {
                "sender": envelope.mail_from,
                "recipients": envelope.rcpt_tos,
                "file": str(file),
                "login": session.auth_data.login.decode() if session.auth_data else None,
            }
        )
        return "250 OK"


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
) -> AuthResult:
    del server, session, envelope, mechanism
    good = data.login == USERNAME.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=good, handled=False, auth_data=data if good else None)


async def _be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _be_endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"220-" + b"x" * 4096)
            await writer.drain()


def _write_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail server of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _serve(folder: Path) -> None:
    certificate = _write_certificate(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    handler = _Handler(folder)

    def plain() -> SMTP:
        return SMTP(handler, hostname="mail.test")

    def starttls() -> SMTP:
        return SMTP(
            handler,
            hostname="mail.test",
            tls_context=tls,
            require_starttls=True,
            auth_required=True,
            authenticator=_authenticate,
        )

    def over_tls() -> SMTP:
        return SMTP(
            handler,
            hostname="mail.test",
            auth_required=True,
            auth_require_tls=False,
            authenticator=_authenticate,
        )

    servers = {
        "plain": await loop.create_server(plain, "127.0.0.1", 0),
        "starttls": await loop.create_server(starttls, "127.0.0.1", 0),
        "tls": await loop.create_server(over_tls, "127.0.0.1", 0, ssl=tls),
        "silent": await asyncio.start_server(_be_silent, "127.0.0.1", 0),
        "endless": await asyncio.start_server(_be_endless, "127.0.0.1", 0),
    }
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    _say({"ports": ports, "certificate": str(certificate)})
    await loop.run_in_executor(None, sys.stdin.read)
    for server in servers.values():
        server.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(_serve(Path(temporary)))

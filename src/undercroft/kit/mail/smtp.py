"""The real mailer: hands messages to an SMTP server (RFC 5321, submission by RFC 6409)."""

import asyncio
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

import aiosmtplib

from undercroft.kit.mail.message import Message, render_message
from undercroft.kit.mail.protocol import MailNotSentError

SmtpSecurity: TypeAlias = Literal["starttls", "tls", "none"]

_DEADLINE_SECONDS: Final = 30.0
"""For a whole message: connecting, logging in and handing over."""
_ADVICE: Final = (
    "Check smtp_host, smtp_port and smtp_security, and the network between here and there."
)
_REFUSALS: Final[dict[type[Exception], tuple[str, str]]] = {
    aiosmtplib.SMTPAuthenticationError: ("the login", "Check smtp_username and smtp_password."),
    aiosmtplib.SMTPSenderRefused: (
        "the sender",
        "Check mail_from: it has to be an address that the server lets this login use.",
    ),
    aiosmtplib.SMTPRecipientRefused: ("the recipient", "Check that the address exists."),
    aiosmtplib.SMTPDataError: ("the message", "Its own log says why."),
}
_MESSAGES_OWN: Final = (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError)
"""Refusals that lie in the message, so that another try with it comes to the same."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over.

    Attributes:
        security: ``starttls`` encrypts before anything is said, ``tls`` from the first byte. Neither falls back.
        password: Goes with ``username``; neither is sent where ``security`` is ``none``.
    """

    host: str
    port: int
    security: SmtpSecurity
    username: str | None = None
    password: str | None = field(default=None, repr=False)


class SmtpMailer:
    """One connection for each message: mail is rare, and a kept connection would be closed by the server meanwhile.

    Args:
        server: Where to.
        sender: The service's own address.
        tls: What certificates to trust.
        deadline_seconds: After which a message counts as not sent.
    """

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        tls: ssl.SSLContext,
        deadline_seconds: float = _DEADLINE_SECONDS,
    ) -> None:
        self._server = server
        self._sender = sender
        self._tls = tls
        self._deadline_seconds = deadline_seconds

    async def send(self, message: Message, *, mail_id: UUID, dated: datetime) -> None:
        """Hand one message over.

        Raises:
            MailNotSentError: When the server cannot be reached, is too slow, or refuses it.
        """
        content = render_message(message, self._sender, mail_id=mail_id, dated=dated)
        client = self._client()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await client.connect()
                await self._log_in(client)
                await client.sendmail(self._sender, message.to, content)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _explain(error) from error
        finally:
            # With the answer to DATA it was handed over: how the connection ends is nobody's concern. Not closed but
            # aborted: over TLS, closing would wait for what the server has to say about it.
            if isinstance(client.transport, asyncio.WriteTransport):
                client.transport.abort()
            client.close()

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        if self._server.username is not None and self._server.password is not None:
            await client.login(self._server.username, self._server.password)

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            # What is said in EHLO. Not this machine's name: that is nobody's concern, and looking it up may block.
            local_hostname=self._sender.rpartition("@")[2],
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=None if server.security == "none" else self._tls,
            timeout=self._deadline_seconds,
        )


def _explain(error: Exception) -> MailNotSentError:
    """What the operator reads. Never the server's own words: they may repeat the recipient's address."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        what, advice = _REFUSALS.get(type(error), ("us", _ADVICE))
        # RFC 5321, section 4.2.1: a code from 500 says not to try again. That of a login is the operator's to mend.
        is_final = error.code >= 500 and isinstance(error, _MESSAGES_OWN)
        return MailNotSentError(
            f"The mail server refused {what} with code {error.code}", advice, permanent=is_final
        )
    if isinstance(error, TimeoutError):
        return MailNotSentError("The mail server did not answer in time", _ADVICE)
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return MailNotSentError(
            "The mail server's certificate is not trusted, or it does not speak TLS there", _ADVICE
        )
    return MailNotSentError(f"The mail server cannot be used ({type(error).__name__})", _ADVICE)

"""The seam: hands over one message at a time."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from undercroft.kit.mail.message import Message


class MailNotSentError(Exception):
    """A message was not handed over. The text is for the operator; it names no recipient and holds no secret.

    Args:
        reason: What happened.
        advice: What to do next.
        permanent: Whether trying again cannot help.
    """

    def __init__(self, reason: str, advice: str, *, permanent: bool = False) -> None:
        super().__init__(f"{reason}. {advice}")
        self.permanent = permanent


class Mailer(Protocol):
    """Implementations pass tests/kit/mail/test_conformance.py."""

    async def send(self, message: Message, *, mail_id: UUID, dated: datetime) -> None:
        """Hand a message over. When this returns, somebody else is answerable for it.

        Sending again after a failure, or after a crash that hid a success, is right: with the same id it is the same
        message, for whoever sorts out duplicates.

        Args:
            message: What to send.
            mail_id: Makes its Message-ID.
            dated: Its Date.

        Raises:
            MailNotSentError: When it was not taken, or nobody knows whether it was.
        """
        ...

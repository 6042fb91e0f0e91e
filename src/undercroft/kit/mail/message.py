"""A message, checked when it is made, and the bytes that it travels as (RFC 5322)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final
from uuid import UUID

from undercroft.kit.errors import InvalidRequestError

_LONGEST_ADDRESS: Final = 254
_LONGEST_SUBJECT: Final = 200
_LONGEST_TEXT: Final = 65_536
_LONGEST_HEADER: Final = 500
_MOST_HEADERS: Final = 10

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)"
)
"""One plain address of RFC 5321: no quotes, no display name, nothing that could end it and begin another."""
_SUBJECT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_TEXT: Final = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]+")
_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,49}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]+")
_OWN_HEADERS: Final = frozenset(
    {"from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version"}
)
_OWN_PREFIXES: Final = ("content-", "resent-")


class InvalidMessageError(InvalidRequestError):
    """A message cannot be sent as it was written."""


def check_address(address: str) -> str:
    """The address, if mail can be sent to it.

    Raises:
        InvalidMessageError: When it is not one plain address in ASCII.
    """
    match = _ADDRESS.fullmatch(address) if len(address) <= _LONGEST_ADDRESS else None
    if match is None or len(match["local"]) > 64:
        raise InvalidMessageError(
            "That is no address mail can be sent to. Give one plain address, such as name@mail.example; a domain in "
            "other letters is written in its ASCII form (xn--...).",
            param="to",
        )
    return address


@dataclass(frozen=True, slots=True)
class Message:
    """A text for one person.

    Attributes:
        to: One plain address.
        subject: One line of at most 200 characters.
        text: At most 65,536 characters; lines end with a line feed.
        headers: Further headers, at most 10 in ASCII. Those that say from whom, to whom, when and what it is are the
            mailer's own.
    """

    to: str
    subject: str
    text: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Raises InvalidMessageError: When a part is too long, or holds what could be read as another part."""
        check_address(self.to)
        if len(self.subject) > _LONGEST_SUBJECT or _SUBJECT.fullmatch(self.subject) is None:
            raise InvalidMessageError(
                f"A subject is one line of 1 to {_LONGEST_SUBJECT} characters.", param="subject"
            )
        if len(self.text) > _LONGEST_TEXT or _TEXT.fullmatch(self.text) is None:
            raise InvalidMessageError(
                f"A text has 1 to {_LONGEST_TEXT} characters, and of control characters only line feeds and tabs.",
                param="text",
            )
        if len(self.headers) > _MOST_HEADERS:
            raise InvalidMessageError(
                f"A message has at most {_MOST_HEADERS} headers of its own.", param="headers"
            )
        for name, value in self.headers.items():
            _check_header(name, value)


def render_message(message: Message, sender: str, *, mail_id: UUID, dated: datetime) -> bytes:
    """The message as it travels: CRLF line ends, no line longer than SMTP allows.

    Args:
        message: What to send.
        sender: The service's own address; its domain makes the Message-ID.
        mail_id: The same for every try.
        dated: The same for every try, aware.
    """
    rendered = EmailMessage(policy=SMTP)
    rendered["From"] = sender
    rendered["To"] = message.to
    rendered["Subject"] = message.subject
    rendered["Date"] = dated
    rendered["Message-ID"] = f"<{mail_id.hex}@{sender.rpartition('@')[2]}>"
    # RFC 3834: nobody's holiday responder shall answer a machine.
    rendered["Auto-Submitted"] = "auto-generated"
    for name, value in message.headers.items():
        rendered[name] = value
    # Always base64: no line of the text can be taken for anything but text.
    rendered.set_content(message.text, cte="base64")
    return rendered.as_bytes()


def _check_header(name: str, value: str) -> None:
    lowered = name.lower()
    if (
        _HEADER_NAME.fullmatch(name) is None
        or lowered in _OWN_HEADERS
        or lowered == "auto-submitted"
        or lowered.startswith(_OWN_PREFIXES)
    ):
        raise InvalidMessageError(
            "A header's name has 1 to 50 letters, digits and hyphens, and is none that the mailer writes itself.",
            param="headers",
        )
    if len(value) > _LONGEST_HEADER or _HEADER_VALUE.fullmatch(value) is None:
        raise InvalidMessageError(
            f"A header's value has 1 to {_LONGEST_HEADER} printable ASCII characters.",
            param="headers",
        )

"""The default mailer: a folder for the operator, or a test, to read."""

import asyncio
from datetime import datetime
from pathlib import Path
from uuid import UUID

from undercroft.kit.files import write_durably
from undercroft.kit.mail.message import Message, render_message
from undercroft.kit.mail.protocol import MailNotSentError


class OutboxFolder:
    """Writes each message to a file ``<id>.eml`` that only its owner may read.

    Args:
        folder: Made when the first message is written, with mode 0700.
        sender: The service's own address.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, message: Message, *, mail_id: UUID, dated: datetime) -> None:
        """Write one file; the same id again replaces it.

        Raises:
            MailNotSentError: When the folder cannot be written to.
        """
        content = render_message(message, self._sender, mail_id=mail_id, dated=dated)
        try:
            await asyncio.to_thread(self._write, f"{mail_id.hex}.eml", content)
        except OSError as error:
            raise MailNotSentError(
                f"The outbox cannot be written to: {error.strerror}",
                f"Make room, or give the service the right to write in {self._folder}.",
            ) from error

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # All of it is ASCII: what is not was encoded. The line ends stay CRLF, as a file with this ending has them.
        write_durably(self._folder / name, content.decode("ascii"))

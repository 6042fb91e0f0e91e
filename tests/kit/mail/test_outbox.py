"""The outbox: one whole file for each message, for its owner alone."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.kit.mail.conftest import SENDER
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import Message
from undercroft.kit.mail.outbox import OutboxFolder
from undercroft.kit.mail.protocol import MailNotSentError

MESSAGE = Message("ada@example.org", "Hello", "Your code is 492118.\n")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "outbox"
    mail_id = IdSource().new()
    await OutboxFolder(folder, SENDER).send(MESSAGE, mail_id=mail_id, dated=NOW)
    (file,) = folder.iterdir()
    assert file.name == f"{mail_id.hex}.eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_repeated_send_leaves_one_file(tmp_path: Path) -> None:
    mailer, mail_id = OutboxFolder(tmp_path, SENDER), IdSource().new()
    for _ in range(2):
        await mailer.send(MESSAGE, mail_id=mail_id, dated=NOW)
    assert [file.name for file in tmp_path.iterdir()] == [f"{mail_id.hex}.eml"]


async def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.write_text("a file in its place")
    with pytest.raises(MailNotSentError, match=str(folder)) as failed:
        await OutboxFolder(folder, SENDER).send(MESSAGE, mail_id=IdSource().new(), dated=NOW)
    assert not failed.value.permanent
    assert "492118" not in str(failed.value)

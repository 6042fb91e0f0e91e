"""What every mailer does: hands over what was written, to one person, under an id that stays."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.kit.mail.conftest import SENDER, Route
from undercroft.kit.mail.message import Message

MAIL_ID = UUID("019b0000-0000-7000-8000-0000000000aa")
DATED = datetime(2026, 11, 29, 12, 30, 5, tzinfo=UTC)
TEXTS = (
    "Your code is 492 118.\n",
    "Grüße aus Zürich: 你好 👩‍👩‍👧\n\n\tWith a tab,\nand no line end",
    ".\n..\n.hidden\nFrom here\nQUIT\n",
    "x" * 20_000,
    "é" * 65_536,
)


@pytest.mark.parametrize("text", TEXTS, ids=["code", "letters", "dots", "long line", "longest"])
async def test_a_text_arrives_as_it_was_written(route: Route, text: str) -> None:
    message = Message("ada@example.org", "Your code: 492 118", text)
    await route.mailer.send(message, mail_id=MAIL_ID, dated=DATED)
    read = route.read()
    assert read["Subject"] == "Your code: 492 118"
    # On the way every line ends with CRLF, the last one as well (RFC 5321, section 2.3.8).
    assert read.get_content().replace("\r\n", "\n") == text.removesuffix("\n") + "\n"
    assert read.get_content_type() == "text/plain"


async def test_it_says_from_whom_to_whom_and_when(route: Route) -> None:
    headers = {"Reply-To": "help@example.org", "X-Undercroft-Kind": "code"}
    await route.mailer.send(
        Message("ada+codes@example.org", "Hello", "Hello.\n", headers), mail_id=MAIL_ID, dated=DATED
    )
    read = route.read()
    assert [read["From"], read["To"]] == [SENDER, "ada+codes@example.org"]
    assert read["Date"].datetime == DATED
    assert read["Auto-Submitted"] == "auto-generated"
    assert {name: read[name] for name in headers} == headers


async def test_a_repeated_send_is_the_same_message(route: Route) -> None:
    message = Message("ada@example.org", "Hello", "Hello.\n")
    rendered: list[bytes] = []
    for _ in range(2):
        await route.mailer.send(message, mail_id=MAIL_ID, dated=DATED)
        read = route.read()
        assert read["Message-ID"] == f"<{MAIL_ID.hex}@undercroft.test>"
        rendered.append(read.as_bytes())
    assert rendered[0] == rendered[1]

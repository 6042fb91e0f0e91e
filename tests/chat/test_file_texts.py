"""Files in requests are read in the sandbox that reads uploads, and are refused with what is wrong with them."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.retrieval.parsing import files
from tests.stepping import PATIENCE
from undercroft.chat.file_texts import MOST_CHARACTERS, FileTexts, GivenFile
from undercroft.kit.errors import InvalidRequestError, UnavailableError
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.sandbox import ParserSandbox, SandboxLimits

TENANT = uuid4()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
async def texts() -> AsyncGenerator[FileTexts]:
    async with ParserSandbox(SandboxLimits(max_characters=MOST_CHARACTERS)) as sandbox:
        yield FileTexts(sandbox)


async def test_it_is_read_by_what_it_holds_whatever_it_is_called(texts: FileTexts) -> None:
    page = encoded(b"<html><body><p>The rent is 1,250.</p></body></html>")
    given = [
        GivenFile(page, "lease.pdf"),
        GivenFile(f"data:application/pdf;base64,{page}", None),
        GivenFile(encoded(files.make_pdf_pages("The deposit is 2,500.")), "a.txt"),
    ]
    read = await texts.read(TENANT, given, "input")
    assert [text.strip() for text in read] == [
        "The rent is 1,250.",
        "The rent is 1,250.",
        "The deposit is 2,500.",
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("no base64!", None),
        ("aGVsbG8", None),
        ("data:text/plain,hello", None),
        (f"data:{'a' * 300};base64,aGVsbG8=", None),
        ("", "no_text"),
        (encoded(b"   "), "no_text"),
        (encoded(b"\x89PNG\r\n\x1a\n" + bytes(100)), "unsupported_file"),
        (encoded(b"%PDF-1.7 and no more"), "corrupt_file"),
        (encoded(b"word " * (MOST_CHARACTERS // 5 + 1)), "too_much_text"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_its_reason(
    texts: FileTexts, data: str, code: str | None
) -> None:
    with pytest.raises(InvalidRequestError, match="'a\\.bin' cannot") as refused:
        await texts.read(TENANT, [GivenFile(data, "a.bin")], "messages")
    assert (refused.value.code, refused.value.param) == (code, "messages")


async def test_files_together_have_a_bound(texts: FileTexts) -> None:
    half = GivenFile(encoded(b"word " * (MOST_CHARACTERS // 8)), None)
    with pytest.raises(InvalidRequestError, match="together") as refused:
        await texts.read(TENANT, [half, half], "input")
    assert refused.value.code == "too_much_text"


async def test_more_than_may_wait_are_told_to_come_back(texts: FileTexts) -> None:
    file = GivenFile(encoded(b"hello"), None)
    asked = [texts.read(TENANT, [file], "input") for _ in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, UnavailableError)]
    assert answers.count(["hello"]) == 16
    assert len(refused) == 4
    assert all(each.retry_after for each in refused)
    # And those places are free again.
    assert await texts.read(TENANT, [file], "input") == ["hello"]


class HeldSandbox(ParserSandbox):
    """Reads nothing until the test lets it, and notes the order."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)
        self.reached = asyncio.Event()
        self.read: list[bytes] = []

    async def extract(self, source: Path | bytes, media_type: str) -> ExtractedDocument:
        assert isinstance(source, bytes)
        self.read.append(source)
        if len(self.read) == 2:
            self.reached.set()
        await self.gate.acquire()
        return ExtractedDocument(media_type, source.decode(), None, (), ())


async def test_who_floods_waits_behind_their_own_flood() -> None:
    sandbox = HeldSandbox()
    texts = FileTexts(sandbox)

    def ask(tenant_id: UUID, text: str) -> asyncio.Task[list[str]]:
        files = [GivenFile(encoded(text.encode()), None)] * 3
        return asyncio.create_task(texts.read(tenant_id, files, "input"))

    flood = [ask(TENANT, "flood") for _ in range(16)]
    async with asyncio.timeout(PATIENCE):
        await sandbox.reached.wait()
        others = [ask(uuid4(), f"other {number}") for number in range(3)]
        for _ in range(3 * 19):
            sandbox.gate.release()
        answers = await asyncio.gather(*others)
        assert answers == [[f"other {number}"] * 3 for number in range(3)]
        # Of 48 of the flood those that ran, and one more at most for each of the others'.
        last = max(place for place, each in enumerate(sandbox.read) if each != b"flood")
        assert sandbox.read[:last].count(b"flood") <= 2 + 9
        ended = await asyncio.gather(*flood, return_exceptions=True)
    # They made room for the others.
    refused = [each for each in ended if isinstance(each, UnavailableError)]
    assert ended.count(["flood"] * 3) == 16 - len(refused)
    assert len(refused) == 3

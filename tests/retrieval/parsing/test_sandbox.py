import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import command_of
from tests.retrieval.parsing import files, hostile
from undercroft.kit.errors import UnavailableError
from undercroft.retrieval.parsing.detection import DOCX, EPUB, HTML, JSON, MARKDOWN, PDF, PLAIN
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode, UnsupportedTypeError
from undercroft.retrieval.parsing.sandbox import MEBIBYTE, ParserSandbox, SandboxLimits

ROOT = Path(__file__).parents[3]
LIMITS = SandboxLimits(memory_bytes=512 * MEBIBYTE, seconds=20.0, max_characters=1_000_000)
QUICK = SandboxLimits(memory_bytes=512 * MEBIBYTE, seconds=2.0)


@pytest.fixture
async def sandbox() -> AsyncGenerator[ParserSandbox]:
    async with ParserSandbox(LIMITS) as opened:
        yield opened


@pytest.fixture
async def hostile_sandbox() -> AsyncGenerator[ParserSandbox]:
    async with ParserSandbox(LIMITS, extractor=hostile.EXTRACTOR) as opened:
        yield opened
        # Whatever a test did to it, it reads the next file.
        assert (await opened.extract(b"well", PLAIN)).text == "well"


async def order(sandbox: ParserSandbox, command: str) -> str:
    return (await sandbox.extract(command.encode(), PLAIN)).text


async def refusal(sandbox: ParserSandbox, content: bytes, media_type: str = PLAIN) -> ParseError:
    with pytest.raises(ParseError) as caught:
        await sandbox.extract(content, media_type)
    return caught.value


def zygote_of(process: psutil.Process) -> psutil.Process:
    """The one of the hostile extractor: other tests' sandbox lives as long as this process."""
    (zygote,) = [child for child in process.children() if hostile.EXTRACTOR in command_of(child)]
    return zygote


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more, though nobody may have collected its status yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something outside this process, which sends no event, for at most a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.to_thread(os.sched_yield)


async def test_reads_every_format_through_the_wall(sandbox: ParserSandbox, tmp_path: Path) -> None:
    path = tmp_path / "lease.pdf"
    path.write_bytes(files.make_pdf())
    lease = await sandbox.extract(path, PDF)
    assert lease.media_type == PDF
    assert lease.title == "Old Mill"
    assert [page.number for page in lease.pages] == [1, 2]
    minutes = await sandbox.extract(files.make_docx(), DOCX)
    assert "Item | Cost\nRoof | 1,200" in minutes.text
    book = await sandbox.extract(files.make_epub({"a.xhtml": "<p>One</p>"}), EPUB)
    assert book.text == "One"
    page = await sandbox.extract(b"<meta charset=koi8-r><h1>\xf0\xd2\xc9\xd7\xc5\xd4", HTML)
    assert page.text == "\u041f\u0440\u0438\u0432\u0435\u0442"
    note = await sandbox.extract("caf\u00e9 au lait \U0001f600".encode("utf-16"), PLAIN)
    assert note.text == "caf\u00e9 au lait \U0001f600"
    assert (await sandbox.extract(b"# T\n\nx", MARKDOWN)).title == "T"
    assert (await sandbox.extract(b'{"a": 1}', JSON)).text == "a: 1"


async def test_reads_text_of_more_than_one_piece_exactly(sandbox: ParserSandbox) -> None:
    text = "\u20ac\U0001f600x " * 100_000
    assert (await sandbox.extract(text.encode(), PLAIN)).text == text


async def test_has_no_parser_for_other_types(sandbox: ParserSandbox) -> None:
    with pytest.raises(UnsupportedTypeError):
        await sandbox.extract(b"x", "image/png")


@pytest.mark.parametrize(
    ("make", "media_type", "code"),
    [
        (files.make_bomb_docx, DOCX, ParseErrorCode.TOO_COMPLEX),
        (files.make_lying_docx, DOCX, ParseErrorCode.CORRUPT_FILE),
        (lambda: files.make_pdf()[:-600], PDF, ParseErrorCode.CORRUPT_FILE),
        (lambda: files.make_pdf()[:300], PDF, ParseErrorCode.CORRUPT_FILE),
        (lambda: b"%PDF-1.7 rubbish", PDF, ParseErrorCode.CORRUPT_FILE),
        (lambda: files.make_pdf_loop(2), PDF, None),
        (lambda: files.make_pdf_loop(9_000), PDF, None),
        (lambda: files.make_pdf_loop(1_000_000_000), PDF, None),
        (files.make_scan, PDF, ParseErrorCode.NO_TEXT),
        (lambda: files.make_pdf(password="secret"), PDF, ParseErrorCode.ENCRYPTED),
        (lambda: b"[" * 10_000 + b"]" * 10_000, JSON, ParseErrorCode.TOO_COMPLEX),
        (lambda: b'{"a":' * 200 + b"1" + b"}" * 200, JSON, ParseErrorCode.TOO_COMPLEX),
        (lambda: b"word " * 250_000, PLAIN, ParseErrorCode.TOO_MUCH_TEXT),
        (lambda: b" \n\t ", PLAIN, ParseErrorCode.NO_TEXT),
        (lambda: files.make_docx()[:2000], DOCX, ParseErrorCode.CORRUPT_FILE),
    ],
)
async def test_refuses_a_bad_file_and_reads_the_next(
    sandbox: ParserSandbox,
    make: Callable[[], bytes],
    media_type: str,
    code: ParseErrorCode | None,
) -> None:
    error = await refusal(sandbox, await asyncio.to_thread(make), media_type)
    assert code is None or error.reason is code
    assert (await sandbox.extract(b"next", PLAIN)).text == "next"


async def test_a_scan_says_that_it_has_no_text(sandbox: ParserSandbox) -> None:
    error = await refusal(sandbox, files.make_scan(), PDF)
    assert "looks like a scan" in error.message


async def test_deeply_nested_html_ends_at_the_limit() -> None:
    async with ParserSandbox(QUICK) as sandbox:
        error = await refusal(sandbox, b"<div>" * 100_000 + b"deep", HTML)
        assert error.reason in {ParseErrorCode.TIMED_OUT, ParseErrorCode.TOO_COMPLEX}
        assert (await sandbox.extract(b"next", PLAIN)).text == "next"


async def test_a_crash_is_the_file_s_own_error(hostile_sandbox: ParserSandbox) -> None:
    error = await refusal(hostile_sandbox, b"crash")
    assert error.reason is ParseErrorCode.CORRUPT_FILE
    assert "crashed" in error.message


@pytest.mark.parametrize("command", ["allocate", "recurse"])
async def test_memory_is_bounded(hostile_sandbox: ParserSandbox, command: str) -> None:
    error = await refusal(hostile_sandbox, command.encode())
    assert error.reason is ParseErrorCode.TOO_COMPLEX


@pytest.mark.parametrize("command", [b"spin", b"wait"])
async def test_time_is_bounded(command: bytes) -> None:
    async with ParserSandbox(QUICK, extractor=hostile.EXTRACTOR) as sandbox:
        error = await refusal(sandbox, command)
        assert error.reason is ParseErrorCode.TIMED_OUT
        assert not zygote_of(psutil.Process()).children()
        assert await order(sandbox, "well") == "well"


async def test_an_unforeseen_error_is_told_to_the_operator_alone(
    hostile_sandbox: ParserSandbox,
) -> None:
    error = await refusal(hostile_sandbox, b"raise the file's secret")
    assert error.reason is ParseErrorCode.CORRUPT_FILE
    assert "secret" not in error.message
    assert error.detail is not None
    assert "the file's secret" in error.detail


async def test_limits_are_in_force(hostile_sandbox: ParserSandbox) -> None:
    limits = dict(line.split() for line in (await order(hostile_sandbox, "limits")).splitlines())
    assert limits == {
        "RLIMIT_AS": str(LIMITS.memory_bytes),
        "RLIMIT_CPU": "20",
        "RLIMIT_FSIZE": "0",
        "RLIMIT_NOFILE": "32",
        "RLIMIT_CORE": "0",
    }


async def test_the_file_system_is_out_of_reach(
    hostile_sandbox: ParserSandbox, tmp_path: Path
) -> None:
    if "file system" in hostile_sandbox.missing_protections:
        pytest.skip("this kernel has no Landlock")
    secret = tmp_path / "key"
    secret.write_text("secret")
    for attempt in (
        f"open {secret}",
        f"create {tmp_path}/new",
        f"open /proc/{os.getpid()}/environ",
    ):
        assert (await order(hostile_sandbox, attempt)).startswith("refused: ")


async def test_no_path_leads_anywhere(hostile_sandbox: ParserSandbox, tmp_path: Path) -> None:
    if "paths" in hostile_sandbox.missing_protections:
        pytest.skip("this machine permits no user namespaces")
    secret, path = tmp_path / "key", tmp_path / "socket"
    secret.touch(mode=0o600)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        for attempt in (f"change-mode {secret}", f"connect-path {path}", f"open {secret}"):
            assert await order(hostile_sandbox, attempt) == "refused: No such file or directory"
    assert secret.stat().st_mode & 0o777 == 0o600


async def test_the_network_is_out_of_reach(hostile_sandbox: ParserSandbox) -> None:
    if "network" in hostile_sandbox.missing_protections:
        pytest.skip("this machine permits no network namespaces")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (await order(hostile_sandbox, f"connect {port}")).startswith("refused: ")
        assert (await order(hostile_sandbox, f"send {port}")).startswith("refused: ")


async def test_holds_nothing_of_the_service(
    hostile_sandbox: ParserSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERCROFT_SECRET", "x")
    async with ParserSandbox(LIMITS, extractor=hostile.EXTRACTOR) as sandbox:
        assert "UNDERCROFT_SECRET" not in await order(sandbox, "environment")
    # Standard streams, the file, the socket.
    assert len((await order(hostile_sandbox, "descriptors")).split()) == 5


async def test_holds_nothing_of_another_file() -> None:
    async with ParserSandbox(LIMITS, extractor=hostile.EXTRACTOR) as sandbox:
        other = asyncio.create_task(sandbox.extract(b"wait", PLAIN))
        await until(lambda: bool(zygote_of(psutil.Process()).children()))
        assert len((await order(sandbox, "descriptors")).split()) == 5
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other


async def test_a_parser_that_kills_the_zygote_costs_only_a_restart(
    hostile_sandbox: ParserSandbox,
) -> None:
    answers: list[str] = []
    with contextlib.suppress(UnavailableError):
        answers.append(await order(hostile_sandbox, "kill-server"))
    assert answers in ([], ["refused: Operation not permitted"])


async def test_restarts_after_the_zygote_was_killed(hostile_sandbox: ParserSandbox) -> None:
    running = asyncio.create_task(hostile_sandbox.extract(b"wait", PLAIN))
    zygote = zygote_of(psutil.Process())
    await until(lambda: bool(zygote.children()))
    (parser,) = zygote.children()
    zygote.kill()
    with pytest.raises(UnavailableError):
        await running
    await until(lambda: has_ended(parser))
    assert await order(hostile_sandbox, "again") == "again"


@pytest.mark.parametrize(
    "command",
    [
        "answer ",
        "answer 00",
        "answer ffffffff",
        "answer 0000000a7b7d",
        hostile.framed(b"not json"),
        hostile.framed(b'{"media_type": 5}', b"text"),
        hostile.framed(b'{"pages": [[1, 0, 99]]}', b"text"),
        hostile.framed(b'{"pages": [[2, 0, 1]]}', b"text"),
        hostile.framed(b'{"pages": [[1, 0, 3], [2, 2, 4]]}', b"text"),
        hostile.framed(b'{"headings": [[1, "h", 3], [1, "h", 2]]}', b"text"),
        hostile.framed(b'{"headings": [[7, "h", 0]]}', b"text"),
        hostile.framed(b'{"headings": [[1, "h", 4]]}', b"text"),
        hostile.framed(b"{}", b"\xff\xfe"),
        hostile.framed(b"{}", b"\xe2\x82"),
        hostile.framed(b"{}", b"a\0b"),
        hostile.framed(
            b'{"failure": {"code": "encrypted", "message": "m", "detail": null, "x": 1}}'
        ),
        "control-characters",
        "exit 7",
    ],
)
async def test_trusts_no_answer(hostile_sandbox: ParserSandbox, command: str) -> None:
    error = await refusal(hostile_sandbox, command.encode())
    assert error.reason is ParseErrorCode.CORRUPT_FILE


async def test_too_long_an_answer_is_cut_off(hostile_sandbox: ParserSandbox) -> None:
    error = await refusal(hostile_sandbox, b"flood")
    assert error.reason is ParseErrorCode.CORRUPT_FILE


async def test_cancelling_ends_the_parser(hostile_sandbox: ParserSandbox) -> None:
    running = asyncio.create_task(hostile_sandbox.extract(b"wait", PLAIN))
    zygote = zygote_of(psutil.Process())
    await until(lambda: bool(zygote.children()))
    (parser,) = zygote.children()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not parser.is_running()


async def test_closing_ends_everything() -> None:
    async with ParserSandbox(LIMITS, extractor=hostile.EXTRACTOR) as sandbox:
        running = asyncio.create_task(sandbox.extract(b"wait", PLAIN))
        zygote = zygote_of(psutil.Process())
        await until(lambda: bool(zygote.children()))
        (parser,) = zygote.children()
    with pytest.raises(UnavailableError):
        await running
    assert not zygote.is_running()
    assert not parser.is_running()


async def test_no_more_files_are_read_at_once_than_agreed() -> None:
    async with ParserSandbox(LIMITS, concurrency=2, extractor=hostile.EXTRACTOR) as sandbox:
        running = [asyncio.create_task(sandbox.extract(b"wait", PLAIN)) for _ in range(4)]
        zygote = zygote_of(psutil.Process())
        await until(lambda: len(zygote.children()) == 2)
        first, second = zygote.children()
        for task in running[:2]:
            task.cancel()
        await until(lambda: has_ended(first) and has_ended(second))
        await until(lambda: len(zygote.children()) == 2)
        for task in running:
            task.cancel()
        results = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


async def test_many_files_side_by_side() -> None:
    async with ParserSandbox(LIMITS, concurrency=8, extractor=hostile.EXTRACTOR) as sandbox:
        texts = await asyncio.gather(*(order(sandbox, f"file-{number}") for number in range(100)))
    assert texts == [f"file-{number}" for number in range(100)]


async def test_nothing_outlives_a_killed_service() -> None:
    program = f"""
import asyncio
from undercroft.retrieval.parsing.sandbox import ParserSandbox
async def main():
    async with ParserSandbox(extractor={hostile.EXTRACTOR!r}) as sandbox:
        print("ready", flush=True)
        await sandbox.extract(b"wait", "text/plain")
asyncio.run(main())
"""
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert service.stdout is not None
    assert await service.stdout.readline() == b"ready\n"
    zygote = zygote_of(psutil.Process(service.pid))
    await until(lambda: bool(zygote.children()))
    (parser,) = zygote.children()
    service.send_signal(signal.SIGKILL)
    await service.wait()
    await until(lambda: has_ended(zygote) and has_ended(parser))


async def test_says_when_it_cannot_start() -> None:
    with pytest.raises(UnavailableError):
        async with ParserSandbox(extractor="json:no_such_function"):
            pass


async def test_works_under_a_lower_limit_of_memory() -> None:
    program = """
import asyncio, resource
from undercroft.retrieval.parsing.sandbox import ParserSandbox
resource.setrlimit(resource.RLIMIT_AS, (800_000_000, 800_000_000))
async def main():
    async with ParserSandbox() as sandbox:
        print((await sandbox.extract(b"read", "text/plain")).text)
asyncio.run(main())
"""
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdout=subprocess.PIPE
    )
    output, _ = await service.communicate()
    assert output == b"read\n"

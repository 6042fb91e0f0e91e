"""``undercroft demo``: a service with the sample documents in it, and a first answer."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from undercroft.commands.client import ServiceClient
from undercroft.commands.ingest import ingest_paths
from undercroft.commands.keys import create_key
from undercroft.identity.models import Role
from undercroft.kit.errors import UnavailableError
from undercroft.kit.settings import Settings
from undercroft.retrieval.minilm.prepare import prepare_minilm

_STORE: Final = "Sample documents"
_READY_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 60.0
_KEY_LIFETIME: Final = timedelta(days=30)


async def run_demo(settings: Settings) -> None:
    """Start a service, load the samples, ask a question and leave the service running until Ctrl-C.

    Raises:
        UnavailableError: When the model cannot be prepared, or the service does not come up; its log is named.
    """
    console = Console(highlight=False)
    if settings.embedding_url is None:
        await asyncio.to_thread(prepare_minilm, settings.models_dir, console.print)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    async with _running_service(settings, console) as (url, ended):
        shown = asyncio.create_task(_show(settings, url, console))
        await asyncio.wait({shown, stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not shown.done():
            shown.cancel()
        else:
            shown.result()
            await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not stopped.done():
            raise UnavailableError(
                f"The service ended. {await asyncio.to_thread(_last_words, settings)}"
            )
        console.print("\nStopping …")
    stopped.cancel()


async def _show(settings: Settings, url: str, console: Console) -> None:
    with console.status("Starting the service …"):
        await _wait_until_ready(settings, url)
    key = await create_key(settings, "demo", "demo@example.org", Role.ADMIN, _KEY_LIFETIME)
    async with ServiceClient(url, key) as client:
        store_id = await ingest_paths(client, _STORE, [_samples() / "documents"], console)
        await _ask(client, store_id, _demo_question(), console)
    _print_address(console, url, key, store_id)


async def _ask(client: ServiceClient, store_id: str, question: str, console: Console) -> None:
    console.print(f"\n[bold]You:[/] {question}\n[bold]Undercroft:[/] ", end="")
    citations: list[dict[str, Any]] = []
    async for event in client.ask(store_id, question):
        if event["type"] == "response.output_text.delta":
            console.print(event["delta"], end="", markup=False, soft_wrap=True)
        elif event["type"] == "response.output_text.annotation.added":
            citations.append(event["annotation"])
    console.print("\n")
    for citation in citations:
        span = citation["undercroft"]
        place = f", page {span['page']}" if span["page"] else ""
        heading = f", “{span['headings'][-1]}”" if span["headings"] else ""
        quote = " ".join(span["quote"].split())
        console.print(f"  [cyan]\\[{span['number']}][/] {citation['filename']}{place}{heading}")
        console.print(
            f"      [dim]characters {span['start']}-{span['end']}:[/] “{quote}”", soft_wrap=True
        )


def _print_address(console: Console, url: str, key: str, store_id: str) -> None:
    question = "How much notice must a tenant give?"
    body = json.dumps(
        {
            "input": question,
            "tools": [{"type": "file_search", "vector_store_ids": [store_id]}],
            "stream": True,
        }
    )
    curl = (
        f"curl -N {url}/v1/responses -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
    snippet = f"""\
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{key}")
tools = [{{"type": "file_search", "vector_store_ids": ["{store_id}"]}}]
with client.responses.stream(model="extractive", input="{question}", tools=tools) as stream:
    for event in stream:
        if event.type == "response.output_text.delta": print(event.delta, end="", flush=True)"""
    console.print("\n[bold green]The service is running.[/] Ctrl-C stops it and its database.\n")
    console.print(f"  Address  {url}\n  API key  {key}\n", soft_wrap=True)
    for title, text in (("curl", curl), ("Python", snippet)):
        console.print(f"[bold]{title}[/]")
        console.print(text, markup=False, soft_wrap=True)
        console.print()


@asynccontextmanager
async def _running_service(
    settings: Settings, console: Console
) -> AsyncGenerator[tuple[str, asyncio.Task[int]]]:
    """A service in a process of its own: its address, and a task that ends when it does."""
    port = await asyncio.to_thread(_free_port, settings)
    if settings.port not in {0, port}:
        console.print(f"Port {settings.port} is taken; using {port}.")
    log_path = _log_path(settings)
    log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "undercroft", "serve", "--with-parent"),
            *("--host", settings.host, "--port", str(port), "--data-dir", str(settings.data_dir)),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Out of reach of the terminal's Ctrl-C, which this process turns into an orderly end.
            start_new_session=True,
        )
    ended = asyncio.create_task(process.wait())
    try:
        yield f"http://{settings.host}:{port}", ended
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(_STOP_SECONDS):
            await ended


async def _wait_until_ready(settings: Settings, url: str) -> None:
    async with aiohttp.ClientSession() as session:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while not await _is_ready(session, url):  # noqa: ASYNC110 - another process has no Event to wait for
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise UnavailableError(
                f"The service did not become ready; its log is {_log_path(settings)}."
            ) from None


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def _free_port(settings: Settings) -> int:
    """The configured port, or a free one when it is taken."""
    for port in (settings.port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnavailableError("No port is free on this machine.")


def _samples() -> Path:
    """The sample documents: in the wheel, or at the root of a checkout."""
    packaged = Path(str(resources.files("undercroft"))) / "samples"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "samples"


def _demo_question() -> str:
    lines = (_samples() / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines if line.strip()]
    return str(next(question["question"] for question in questions if question.get("demo")))


def _last_words(settings: Settings) -> str:
    """The last line that the service logged, and where the others are."""
    path = _log_path(settings)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return f"{lines[-1] if lines else ''}\nIts log is {path}."


def _log_path(settings: Settings) -> Path:
    return settings.data_dir / "logs" / "serve.log"

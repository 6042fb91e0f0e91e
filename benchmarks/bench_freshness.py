"""Freshness: from the first byte of a ten-page file's upload until a search finds it, new and after an edit.

``PYTHONPATH=. python benchmarks/bench_freshness.py [--rounds N]``. Ten pages are 2,750 words of the sample documents'
sentences, in an order that is each round's own, with one word that no other file has. The edit changes one sentence.
"""

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.live_service import SAMPLES, LiveService, running_service
from benchmarks.report import header, publish, summary
from undercroft.commands.client import ServiceClient

_WORDS: Final = 2750
_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 120.0


def write_pages(seed: int) -> tuple[str, str]:
    """The text of a file, and the same with one sentence changed."""
    draw = random.Random(seed)  # noqa: S311 - an order that is the same at every run
    sentences = [
        sentence.strip()
        for path in sorted((SAMPLES / "sources").rglob("*.md"))
        for sentence in path.read_text(encoding="utf-8").replace("\n", " ").split(". ")
        if 20 < len(sentence) < 300 and "|" not in sentence
    ]
    draw.shuffle(sentences)
    chosen: list[str] = []
    words = 0
    for sentence in sentences * 4:
        if words >= _WORDS:
            break
        chosen.append(f"{sentence}.")
        words += len(sentence.split())
    chosen.insert(len(chosen) // 2, f"The word of this file is zorvex{seed}new.")
    pages = [chosen[start : start + 8] for start in range(0, len(chosen), 8)]
    text = "\n\n".join(" ".join(page) for page in pages)
    return text, text.replace(f"zorvex{seed}new", f"zorvex{seed}edited")


async def until_found(session: aiohttp.ClientSession, store_id: str, word: str) -> None:
    """Search until the word is found."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        path = f"/v1/vector_stores/{store_id}/search"
        async with session.post(path, json={"query": word}) as response:
            found = (await response.json())["data"]
        if any(word in part["text"] for each in found for part in each["content"]):
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise RuntimeError(f"{word} was not found in {_PATIENCE_SECONDS:.0f} s")


async def measure_round(service: LiveService, seed: int) -> tuple[float, float]:
    """Seconds until a new file is found, and until its edit is."""
    key = await service.make_key(f"fresh{seed}")
    text, edited = write_pages(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.md"
        path.write_text(text, encoding="utf-8")
        async with ServiceClient(service.url, key) as client, service.open_session(key) as session:
            store_id = await client.find_or_create_store("fresh")
            started = time.perf_counter()
            file_id = await client.upload(path)
            await client.add(store_id, file_id)
            await until_found(session, store_id, f"zorvex{seed}new")
            new = time.perf_counter() - started
            form = aiohttp.FormData()
            form.add_field("file", edited.encode(), filename="pages.md")
            async with session.get(f"/v1/documents/{file_id}") as response:
                revision = {"If-Match": response.headers["ETag"]}
            started = time.perf_counter()
            versions = f"/v1/documents/{file_id}/versions"
            async with session.post(versions, data=form, headers=revision):
                pass
            await until_found(session, store_id, f"zorvex{seed}edited")
            return new, time.perf_counter() - started


async def measure(rounds: int) -> dict[str, Any]:
    document = header("freshness")
    async with running_service() as service:
        # The first one warms the parsers and the model.
        await measure_round(service, 0)
        seconds = [await measure_round(service, number) for number in range(1, rounds + 1)]
    return document | {
        "words": _WORDS,
        "new_file_seconds": summary([new for new, _ in seconds], 2),
        "edited_file_seconds": summary([edited for _, edited in seconds], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    publish(asyncio.run(measure(max(1, parser.parse_args().rounds))))


if __name__ == "__main__":
    main()

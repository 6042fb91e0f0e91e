"""The Python examples of the documentation run, in their order, against a real service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.e2e.conftest import SAMPLES, Service

_ROOT = Path(__file__).parents[2]
_SECONDS = 240


def extract_examples(markdown: str) -> str:
    """The blocks fenced as ``python``, each on its own lines of the page, so that a traceback names the right one."""
    lines = [""] * markdown.count("\n")
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.type == "fence" and token.info.strip() == "python" and token.map is not None:
            start = token.map[0] + 1
            body = token.content.splitlines()
            lines[start : start + len(body)] = body
    return "\n".join(lines)


@pytest.mark.parametrize(
    "page",
    [
        "docs/api.md",
        "docs/documents.md",
        "docs/identity.md",
        "docs/records.md",
        "docs/sharing.md",
        "docs/consent.md",
        "docs/mcp.md",
        "docs/webhooks.md",
        "README.md",
    ],
)
def test_the_examples_of_a_page_run(service: Service, tmp_path: Path, page: str) -> None:
    examples = extract_examples((_ROOT / page).read_text(encoding="utf-8"))
    assert examples.strip(), f"{page} has no example"
    # Not the page's own name, which may be that of a package: its folder comes first where imports look.
    program = tmp_path / f"examples_of_{Path(page).stem}.py"
    program.write_text(examples, encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, program],
        env={
            **os.environ,
            "OPENAI_BASE_URL": f"{service.url}/v1",
            "OPENAI_API_KEY": service.key,
            "ADMIN_API_KEY": service.make_key("examples", "admin@example.org", "admin"),
            "SAMPLES": str(SAMPLES),
            "OUTBOX": str(service.data_dir / "outbox"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]


def test_only_python_blocks_are_taken_and_keep_their_lines() -> None:
    page = (
        "text\n\n```python\nfirst = 1\n```\n\n```sh\nrm -r /\n```\n\n```python\nsecond = 2\n```\n"
    )
    assert extract_examples(page).splitlines() == [*[""] * 3, "first = 1", *[""] * 7, "second = 2"]

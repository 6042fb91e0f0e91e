"""A service in miniature for ``test_local.py``: starts the built-in model, prints its process id, and waits."""

import asyncio
import sys
from pathlib import Path

import structlog

from undercroft.chat.providers.local import LocalModelProvider, find_smollm2


async def main() -> None:
    """Starts the model and never ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    provider = LocalModelProvider(find_smollm2() or Path(), seeds=lambda: 1)
    await provider.start()
    print(provider.status().pid, flush=True)  # noqa: T201 -- read by the test
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

"""Whether this process can serve."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    """Named checks; each answers None when all is well, or what is missing."""

    checks: Mapping[str, Callable[[], Awaitable[str | None]]]

    async def report(self) -> dict[str, str]:
        """Every check with "ok" or what is missing."""
        return {name: await check() or "ok" for name, check in self.checks.items()}

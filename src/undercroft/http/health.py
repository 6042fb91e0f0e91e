"""Whether this process can serve."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

ReadinessCheck: TypeAlias = Callable[[], Awaitable[str | None]]
"""Answers None when all is well, or what is missing."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Named checks."""

    checks: Mapping[str, ReadinessCheck]

    async def report(self) -> dict[str, str]:
        """Every check with "ok" or what is missing."""
        return {name: await check() or "ok" for name, check in self.checks.items()}

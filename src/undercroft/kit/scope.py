"""On whose behalf things are done."""

from typing import Protocol
from uuid import UUID


class Scope(Protocol):
    """On whose behalf a transaction runs. Every principal is one."""

    @property
    def tenant_id(self) -> UUID:
        """The hard isolation boundary."""
        ...

    @property
    def principal_id(self) -> UUID:
        """Whose rights they act with."""
        ...

    @property
    def actor_id(self) -> UUID | None:
        """The service that acts for the principal, where one does."""
        ...

    @property
    def purpose(self) -> str | None:
        """What for, as the caller states it: some grants hold for one purpose alone."""
        ...

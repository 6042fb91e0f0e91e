"""Embedding models as an installation has them, and how far one has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SpaceModel:
    """An embedding model that the database knows.

    Attributes:
        is_default: Whether it is searched with where nothing else was chosen.
        is_chosen: Whether any tenant has chosen it for something.
        retired_at: Since when nothing is embedded by it.
    """

    id: int
    name: str
    dimensions: int
    is_default: bool
    is_chosen: bool
    retired_at: datetime | None

    @property
    def is_used(self) -> bool:
        """Whether anything is searched with it."""
        return self.is_default or self.is_chosen


class BackfillState(StrEnum):
    """What becomes of the passages that a model has not embedded yet."""

    NONE = "none"
    """Nobody asked for it."""
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class SpaceProgress:
    """How many of a tenant's passages a model has embedded."""

    tenant_id: UUID
    model: str
    passages: int
    embedded: int
    state: BackfillState


@dataclass(frozen=True, slots=True)
class Space:
    """What of a search is in one model's space.

    Attributes:
        collection_ids: The collections that are searched in it.
        is_of_tenant: Whether it is the tenant's own: single documents, and everything, are searched in that.
    """

    model: str
    collection_ids: Sequence[UUID]
    is_of_tenant: bool


@dataclass(frozen=True, slots=True)
class Rebuild:
    """How the last rebuild of a model's index by a worker went, or goes.

    Attributes:
        ended_at: None while it is under way, or was interrupted.
        is_under_way: Whether a worker is at it.
        phase: What PostgreSQL is doing, with how much of how much done.
    """

    begun_at: datetime
    ended_at: datetime | None
    is_under_way: bool
    phase: str
    done: int
    total: int

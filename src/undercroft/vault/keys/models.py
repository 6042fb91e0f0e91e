"""Keys, wrapped and open."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DataKey:
    """The open key of one row.

    Attributes:
        material: 32 bytes; not in the object's text.
        salt: 32 bytes that the ledger's commitments to this row are made with; destroyed with the key.
    """

    id: UUID
    material: bytes = field(repr=False)
    salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WrappedTenantKey:
    """A tenant's key as it is stored; ``wrapped`` is None once it was destroyed."""

    id: UUID
    tenant_id: UUID
    wrapped: bytes | None


@dataclass(frozen=True, slots=True)
class WrappedDataKey:
    """A data key as it is stored, with the tenant's key that wraps it."""

    id: UUID
    wrapped: bytes
    salt: bytes
    tenant_key: WrappedTenantKey

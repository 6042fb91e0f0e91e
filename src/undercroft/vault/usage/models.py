"""What is kept against what may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quotas:
    """The most bytes of content that may be kept; None for no limit.

    Attributes:
        tenant_bytes: By all users of a tenant together.
        user_bytes: By one user.
    """

    tenant_bytes: int | None = None
    user_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """How many bytes of content are kept: documents, one that a user has twice counted once, and parts of uploads.

    Attributes:
        tenant_bytes: By all users of the tenant together.
        user_bytes: By the user.
    """

    tenant_bytes: int
    user_bytes: int

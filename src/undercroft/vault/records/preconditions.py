"""What a write needs: the record as the writer knows it, and nobody else's lease on it. Pure decisions."""

import hashlib
import hmac

from undercroft.vault.records.errors import LockLostError, RecordLockedError
from undercroft.vault.records.models import LockedRow, Precondition
from undercroft.vault.schemas.errors import StaleVersionError


def digest_token(token: str) -> bytes:
    """What is kept of a lock's token: it is random, so that its hash needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def check_lease(row: LockedRow, token: str | None) -> None:
    """Refuse a write under a lease that ended, or against somebody else's.

    Raises:
        LockLostError: When the token is not that of the lease there is.
        RecordLockedError: When there is a lease and no token.
    """
    is_live = row.lock_digest is not None and row.seconds_left > 0
    if token is None:
        if is_live:
            raise RecordLockedError(row.seconds_left)
        return
    digest = row.lock_digest or b""
    if not (is_live and hmac.compare_digest(digest, digest_token(token))):
        raise LockLostError


def check_precondition(row: LockedRow, precondition: Precondition) -> None:
    """Refuse a write that was made from another version, or that a lease forbids.

    Raises:
        LockLostError: When the writer's lease has ended.
        RecordLockedError: When there is somebody else's.
        StaleVersionError: When the record is at another version.
    """
    check_lease(row, precondition.lock_token)
    if precondition.versions is not None and row.current_version not in precondition.versions:
        raise StaleVersionError("record", row.current_version)

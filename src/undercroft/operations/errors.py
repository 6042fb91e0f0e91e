"""What stops an operator's command."""

from collections.abc import Generator
from contextlib import contextmanager

from undercroft.kit.crypto.aead import DecryptionError


class OperationError(Exception):
    """A command cannot be carried out as it is; the message says why and what to do."""


@contextmanager
def naming(subject: str) -> Generator[None]:
    """Name what is being opened, if it does not open."""
    try:
        yield
    except DecryptionError as error:
        raise OperationError(
            f"{subject} does not open: it was altered, moved or cut short. Run `undercroft fsck` for all that is "
            "damaged; bring it back from a backup, or delete it, and try again."
        ) from error

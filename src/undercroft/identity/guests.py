"""The bounds of guests who were invited and have not come. The database counts; here it is put into words."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from asyncpg import CheckViolationError

from undercroft.identity.errors import TooManyGuestsError

_WHOSE: Final = {
    "users_pending_guests_of_inviter": "You have",
    "users_pending_guests_of_tenant": "This tenant has",
}
"""Who has invited too many, by what the database calls the bound."""


@contextmanager
def bounding_guests() -> Generator[None]:
    """Around the statement that adds a guest.

    Raises:
        TooManyGuestsError: When as many are invited who have not come as may be.
    """
    try:
        yield
    except CheckViolationError as error:
        whose = _WHOSE.get(error.constraint_name or "")
        if whose is None:
            raise
        raise TooManyGuestsError(whose) from error

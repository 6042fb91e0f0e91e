"""What may be a password, by NIST SP 800-63B: long enough, not one that is tried first, and nothing else."""

import unicodedata
from typing import Final

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from undercroft.identity.accounts.errors import WeakPasswordError

SHORTEST: Final = 8
LONGEST: Final = 256
"""Characters, as they are sent."""

_COMMON: Final = frozenset(FREQUENCY_LISTS["passwords"])
"""The 30,000 most common passwords, in small letters."""

_SHORTEST_NAME: Final = 4
"""What is shorter than this is in many a good password by chance."""


def prepare_password(text: str) -> bytes:
    """What is hashed of a password: the same bytes for the same characters, whatever keyboard sent them (NFKC)."""
    return unicodedata.normalize("NFKC", text).encode()


def check_password(text: str, *names: str) -> None:
    """Refuse a password that would be guessed soon.

    Args:
        text: The password.
        *names: What belongs to the person or the tenant and is tried first: an address, a name.

    Raises:
        WeakPasswordError: Saying what to choose instead.
    """
    if not SHORTEST <= len(text) <= LONGEST:
        raise WeakPasswordError(f"A password has {SHORTEST} to {LONGEST} characters.")
    lowered = text.casefold()
    if lowered in _COMMON:
        raise WeakPasswordError("This is one of the most common passwords; choose another.")
    if len(set(lowered)) <= 2:
        raise WeakPasswordError("This repeats one or two characters; choose another.")
    for name in names:
        for part in (name, name.partition("@")[0]):
            if len(part) >= _SHORTEST_NAME and part.casefold() in lowered:
                raise WeakPasswordError("The password holds your address or your tenant's name.")

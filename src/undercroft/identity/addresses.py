"""E-mail addresses, in the one form in which they are kept and compared."""

import re
from typing import Final

from undercroft.kit.errors import InvalidRequestError

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def parse_address(text: str, param: str) -> str:
    """The address in small letters. Whether mail arrives there only mail can tell.

    Args:
        text: As somebody wrote it.
        param: The field it was written in.

    Raises:
        InvalidRequestError: When it is none.
    """
    # Lowered first: some characters become two.
    address = text.lower()
    if _EMAIL.fullmatch(address) is None or not address.isprintable():
        raise InvalidRequestError(f"{address[:330]!r} is not an e-mail address.", param=param)
    return address

"""One-time passwords by time (RFC 6238), as authenticator apps make them: six digits, thirty seconds, HMAC-SHA1.

SHA1 because many apps know no other and do not say so. HMAC does not rest on what is broken in it: collisions.
"""

import base64
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES: Final = 20
"""As long as the hash is, which RFC 4226 recommends."""
STEP_SECONDS: Final = 30
_DIGITS: Final = 6
_CODE: Final = re.compile(rf"[0-9]{{{_DIGITS}}}")
_STEPS_BACK: Final = 1
"""The code before is good as well: somebody was still typing it when the next one came."""


def make_secret(entropy: Callable[[int], bytes]) -> bytes:
    """A secret, which the app and the service share."""
    return entropy(SECRET_BYTES)


def render_secret(secret: bytes) -> str:
    """A secret as people type it into an app."""
    return base64.b32encode(secret).decode()


def render_uri(secret: bytes, account: str, tenant: str) -> str:
    """A secret as apps read it from a QR code."""
    return _passwords(secret).get_provisioning_uri(account, tenant)


def read_code(text: str) -> str | None:
    """A code as it is compared, however it is grouped; None for what can be none."""
    digits = "".join(text.split())
    return digits if _CODE.fullmatch(digits) is not None else None


def make_code(secret: bytes, now: datetime) -> str:
    """The code of a moment."""
    return _passwords(secret).generate(int(now.timestamp())).decode()


def find_step(secret: bytes, code: str, now: datetime) -> int | None:
    """Which time step a code is of; None when it is neither of this one nor of the one before."""
    passwords, latest = _passwords(secret), int(now.timestamp()) // STEP_SECONDS
    for step in range(latest, latest - _STEPS_BACK - 1, -1):
        if hmac.compare_digest(passwords.generate(step * STEP_SECONDS), code.encode()):
            return step
    return None


def _passwords(secret: bytes) -> TOTP:
    return TOTP(secret, _DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - as an HMAC, see above

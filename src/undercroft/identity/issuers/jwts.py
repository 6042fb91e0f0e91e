"""JSON Web Tokens, as strictly as RFC 8725 advises (pure).

A token chooses nothing: key, algorithm, issuer and audience are those of the registration. What its header says of
where to find a key (``jku``, ``x5u``, ``jwk``, ``x5c``) is not looked at.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, deserialize_compact
from joserfc.jwt import JWTClaimsRegistry

from undercroft.identity.issuers.errors import TokenRefusedError, WeakAuthenticationError
from undercroft.identity.issuers.models import (
    DEFAULT_CLAIM,
    Claims,
    Registration,
    RequiredAuthentication,
)

LONGEST: Final = 8192
SKEW_SECONDS: Final = 60
LONGEST_LIFE_SECONDS: Final = 24 * 3600

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_MOST_AUDIENCES: Final = 10
_LONGEST_KEY_ID: Final = 200
_LONGEST_SUBJECT: Final = 255
_ADDRESS: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")

VerificationKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class UncheckedToken:
    """What a token says of itself before anything of it was checked: enough to find by what to check it."""

    issuer: str
    audiences: tuple[str, ...]
    algorithm: str
    key_id: str | None


def looks_like_token(presented: str) -> bool:
    """Whether it could be a signed JSON Web Token."""
    return len(presented) <= LONGEST and _COMPACT.fullmatch(presented) is not None


def read_unchecked(token: str) -> UncheckedToken:
    """What a token says of its issuer and its key.

    Raises:
        TokenRefusedError: When it is malformed, of another kind, nested, or demands what is unknown here.
    """
    header, claims = (_parse(part) for part in token.split(".")[:2])
    kind, algorithm, key_id = header.get("typ", "JWT"), header.get("alg"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefusedError
    # Nothing critical is known here; a payload that is no JSON object of claims is none that is taken.
    if header.keys() & {"crit", "b64", "cty", "enc", "zip"}:
        raise TokenRefusedError
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise TokenRefusedError
    if key_id is not None and len(key_id) > _LONGEST_KEY_ID:
        raise TokenRefusedError
    issuer, audience = claims.get("iss"), claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(issuer, str) or not isinstance(audiences, list):
        raise TokenRefusedError
    named = cast("list[object]", audiences)
    if len(named) > _MOST_AUDIENCES or not all(isinstance(name, str) for name in named):
        raise TokenRefusedError
    return UncheckedToken(issuer, tuple(cast("list[str]", named)), algorithm, key_id)


def check(token: str, key: VerificationKey, registration: Registration, now: datetime) -> Claims:
    """The claims of a token that the issuer signed for this audience, and that is valid now.

    Args:
        token: As :func:`read_unchecked` took it.
        key: The issuer's, and none of the token's.
        registration: What the token has to agree with.
        now: By which it is judged; a minute of difference between clocks is forgiven.

    Raises:
        TokenRefusedError: When anything of it does not hold. What, is not said.
        WeakAuthenticationError: When all of it holds, and its bearer was not authenticated as the registration asks.
    """
    try:
        registry = JWSRegistry(algorithms=registration.algorithms, strict_check_header=False)
        signed = deserialize_compact(token, key, registry=registry)
        claims = _parse_claims(signed.payload)
        moment = int(now.timestamp())
        JWTClaimsRegistry(
            now=moment,
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": registration.url},
            aud={"essential": True, "value": registration.audience},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefusedError from error
    if not moment - LONGEST_LIFE_SECONDS < claims["iat"] <= claims["exp"]:
        raise TokenRefusedError
    if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
        raise TokenRefusedError
    # Of a message about a sign-out (OpenID Connect Back-Channel Logout, section 2.4): signed alike, and no credential.
    if "events" in claims:
        raise TokenRefusedError
    _require_authentication(claims, registration.authentication, moment)
    return Claims(_read_subject(claims, registration.subject_claim), _read_address(claims))


def _require_authentication(
    claims: Mapping[str, Any], wanted: RequiredAuthentication, moment: int
) -> None:
    if wanted.acr_values and claims.get("acr") not in wanted.acr_values:
        raise WeakAuthenticationError("acr", f"is to be one of {', '.join(wanted.acr_values)}")
    methods = claims.get("amr")
    # A text is no list, though it may hold what is looked for.
    used = cast("list[object]", methods) if isinstance(methods, list) else []
    if not all(method in used for method in wanted.amr_values):
        raise WeakAuthenticationError("amr", f"is to have {' and '.join(wanted.amr_values)}")
    if wanted.longest_age is None:
        return
    time = claims.get("auth_time")
    longest = wanted.longest_age + SKEW_SECONDS
    is_time = isinstance(time, int | float)
    # One of the future would make it young for as long as somebody likes.
    if not (is_time and -SKEW_SECONDS <= moment - cast("float", time) <= longest):
        raise WeakAuthenticationError(
            "auth_time", f"is to be {wanted.longest_age} seconds ago at most"
        )


def _read_subject(claims: Mapping[str, Any], name: str) -> str:
    subject = claims.get(name)
    if (
        not isinstance(subject, str)
        or not 1 <= len(subject) <= _LONGEST_SUBJECT
        or not subject.isprintable()
    ):
        raise TokenRefusedError
    if name == DEFAULT_CLAIM:
        return subject
    # Another claim is another namespace: what somebody chose as a nickname must not name whom `sub` names. No subject
    # has the character in between, as it is not printable.
    named = f"{name}\x1f{subject}"
    if len(named) > _LONGEST_SUBJECT:
        raise TokenRefusedError
    return named


def _read_address(claims: Mapping[str, Any]) -> str | None:
    address = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(address, str):
        return None
    # Some letters of other alphabets become ASCII ones in small letters: another's address.
    if not address.isascii():
        return None
    address = address.lower()
    return address if _ADDRESS.fullmatch(address) and address.isprintable() else None


def _parse(part: str) -> dict[str, Any]:
    try:
        return _parse_claims(base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise TokenRefusedError from error


def _parse_claims(text: bytes) -> dict[str, Any]:
    """A JSON object that says one thing only.

    Raises:
        ValueError: When it is none, or names a member twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - malformed, as everything here
    return cast("dict[str, Any]", value)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")

"""The keys that an issuer publishes (JWKS), as far as they can be used (pure)."""

import base64
import json
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from undercroft.identity.issuers.jwts import VerificationKey

MOST_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8193)
_LARGEST_EXPONENT: Final = 2**32
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}


class KeySetError(ValueError):
    """It is no set of keys."""


class KeySet:
    """An issuer's usable keys.

    Left out is what is no public key for signatures, what is too weak or too large to compute with, and what holds its
    private half: a key that everybody has proves nothing.
    """

    def __init__(
        self, keys: Collection[tuple[str | None, frozenset[str], VerificationKey]]
    ) -> None:
        self._keys = keys

    def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """The one key of that id that makes such signatures; without an id the only such key there is."""
        found = [
            key
            for name, algorithms, key in self._keys
            if algorithm in algorithms and key_id in {None, name}
        ]
        return found[0] if len(found) == 1 else None


def read_key_set(text: bytes) -> KeySet:
    """The keys of a JWKS document.

    Raises:
        KeySetError: When it is none.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeySetError from error
    entries = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeySetError
    listed = cast("list[object]", entries)
    if len(listed) > MOST_KEYS:
        raise KeySetError
    keys = [_read_key(cast("dict[str, Any]", entry)) for entry in listed if isinstance(entry, dict)]
    return KeySet([key for key in keys if key is not None])


def _read_key(
    entry: dict[str, Any],
) -> tuple[str | None, frozenset[str], VerificationKey] | None:
    key_id, operations = entry.get("kid"), entry.get("key_ops")
    if entry.get("use", "sig") != "sig" or _PRIVATE & entry.keys():
        return None
    if not isinstance(key_id, str | None):
        return None
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    try:
        algorithms = _algorithms_of(entry)
        if "alg" in entry:
            algorithms &= {str(entry["alg"])}
        key = _import(entry)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return (key_id, algorithms, key) if algorithms else None


def _algorithms_of(entry: Mapping[str, Any]) -> frozenset[str]:
    if entry["kty"] == "RSA":
        return frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
    return frozenset({_CURVES[entry["crv"]]})


def _import(entry: dict[str, Any]) -> VerificationKey:
    if entry["kty"] == "EC":
        return ECKey.import_key(entry)
    if entry["kty"] == "OKP":
        return OKPKey.import_key(entry)
    # Before the library sees it: what is weak it only warns of, and what is huge it computes with.
    modulus, exponent = (_decode(entry[name]) for name in ("n", "e"))
    if modulus.bit_length() not in _RSA_BITS or not 3 <= exponent <= _LARGEST_EXPONENT:
        raise ValueError("an RSA key that is too weak or too large")
    return RSAKey.import_key(entry)


def _decode(number: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4)))

"""Thoughts of responses that are not kept, carried by whoever was answered and opened for nobody else.

There is no response whose key they could be sealed under. So each principal has a key for them, derived from one of
their tenant's: it is stored nowhere, and is gone when that is destroyed. Thoughts that rest on documents are never
sealed so: no erasure would reach them.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Set
from typing import Final

from undercroft.chat.providers.protocol import Message
from undercroft.chat.responses.errors import ThoughtNotOpenedError
from undercroft.chat.responses.models import WireObject
from undercroft.kit.crypto.aead import DecryptionError, bind
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.vault.keys.service import KeyRing

_PREFIX: Final = "own."
"""No thought of a kept response begins so: a dot is in no base64."""
_PURPOSE: Final = "thoughts of responses that are not kept"


class OwnThoughts:
    """Seals and opens them.

    Args:
        keys: Derive a principal's key.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def derive(self, transaction: Transaction, scope: Scope) -> bytes:
        """The key of a principal's thoughts, 32 bytes."""
        return await self._keys.derive_key(transaction, scope, _PURPOSE, scope.principal_id.bytes)

    async def require(self, transaction: Transaction, scope: Scope, own: Set[str]) -> None:
        """Refuse what does not open for a principal of :func:`own_in`.

        Raises:
            ThoughtNotOpenedError: When one was altered, or is somebody else's.
        """
        if len(await self.open(transaction, scope, own)) < len(own):
            raise ThoughtNotOpenedError

    async def open(
        self, transaction: Transaction, scope: Scope, own: Set[str]
    ) -> dict[str, WireObject]:
        """Those of :func:`own_in` that open, each under what it was carried as."""
        if not own:
            return {}
        key = await self.derive(transaction, scope)
        opened = {each: _open(key, scope, each) for each in own}
        return {each: thought for each, thought in opened.items() if thought is not None}


def seal_own(key: bytes, scope: Scope, thought: Mapping[str, object]) -> str:
    """A thought for its principal to carry."""
    sealed = seal_json(key, thought, _place(scope))
    return _PREFIX + base64.urlsafe_b64encode(sealed).decode()


def own_in(messages: Iterable[Message]) -> set[str]:
    """What messages carry of responses that were not kept, or what pretends to be that."""
    carried = (sealed for message in messages for sealed in message.sealed)
    return {sealed for sealed in carried if sealed.startswith(_PREFIX)}


def _open(key: bytes, scope: Scope, carried: str) -> WireObject | None:
    try:
        sealed = base64.b64decode(carried[len(_PREFIX) :], altchars=b"-_", validate=True)
        return unseal_json(key, sealed, _place(scope))
    except (binascii.Error, ValueError, DecryptionError):
        return None


def _place(scope: Scope) -> bytes:
    """It is bound to its tenant and its principal."""
    return bind(scope.tenant_id, "principals", scope.principal_id, "own thoughts")

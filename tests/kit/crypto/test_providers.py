"""What every keeper of the key that wraps all others does."""

import asyncio
import os
from collections.abc import Callable

import pytest

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.protocol import KeyProvider, KeyUnavailableError

SECRET, CONTEXT = bytes(range(32)), b"tenant"
SHORTEST, LONGEST = 32, 4096
"""What fits into ``tenant_keys.wrapped_key``."""

NewProvider = Callable[[], KeyProvider]


async def test_what_one_process_wraps_another_opens(new_provider: NewProvider) -> None:
    wrapped = await new_provider().wrap(SECRET, CONTEXT)
    assert await new_provider().unwrap(wrapped, CONTEXT) == SECRET
    assert SECRET not in wrapped
    assert SHORTEST <= len(wrapped) <= LONGEST


async def test_the_same_key_is_never_wrapped_the_same(new_provider: NewProvider) -> None:
    provider = new_provider()
    assert await provider.wrap(SECRET, CONTEXT) != await provider.wrap(SECRET, CONTEXT)


async def test_it_knows_what_its_current_key_wrapped(new_provider: NewProvider) -> None:
    provider = new_provider()
    wrapped = await provider.wrap(SECRET, CONTEXT)
    assert provider.is_current(wrapped)
    for other in (b"", b"\0" * 68, os.urandom(68)):
        assert not provider.is_current(other)


@pytest.mark.parametrize("other", [b"", b"tenan", b"tenant\0", b"another tenant", bytes(200)])
async def test_a_wrapped_key_opens_in_its_context_alone(
    new_provider: NewProvider, other: bytes
) -> None:
    provider = new_provider()
    wrapped = await provider.wrap(SECRET, CONTEXT)
    with pytest.raises(DecryptionError):
        await provider.unwrap(wrapped, other)


async def test_swapped_wrapped_keys_open_for_neither(new_provider: NewProvider) -> None:
    provider = new_provider()
    first, second = [await provider.wrap(os.urandom(32), name) for name in (b"first", b"second")]
    for wrapped, context in ((first, b"second"), (second, b"first")):
        with pytest.raises(DecryptionError):
            await provider.unwrap(wrapped, context)


async def test_what_was_altered_opens_nowhere(new_provider: NewProvider) -> None:
    """At any byte: where it names the key, a keeper may say that it has no such key."""
    provider = new_provider()
    wrapped = await provider.wrap(SECRET, CONTEXT)
    for position in range(0, len(wrapped), 5):
        altered = bytearray(wrapped)
        altered[position] ^= 1
        with pytest.raises((DecryptionError, KeyUnavailableError)):
            await provider.unwrap(bytes(altered), CONTEXT)
    assert await provider.unwrap(wrapped, CONTEXT) == SECRET


async def test_what_was_cut_short_opens_nowhere(new_provider: NewProvider) -> None:
    provider = new_provider()
    wrapped = await provider.wrap(SECRET, CONTEXT)
    for length in (0, 1, 8, 9, 10, 40, len(wrapped) - 1):
        with pytest.raises((DecryptionError, KeyUnavailableError)):
            await provider.unwrap(wrapped[:length], CONTEXT)


async def test_many_at_once_do_not_meet(new_provider: NewProvider) -> None:
    provider = new_provider()
    keys = {str(number).encode(): os.urandom(32) for number in range(20)}

    async def there_and_back(name: bytes) -> bytes:
        return await provider.unwrap(await provider.wrap(keys[name], name), name)

    assert await asyncio.gather(*map(there_and_back, keys)) == list(keys.values())


async def test_no_key_is_in_its_texts(new_provider: NewProvider) -> None:
    provider = new_provider()
    await provider.wrap(SECRET, CONTEXT)
    assert SECRET.hex() not in repr(vars(provider))

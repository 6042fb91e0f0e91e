"""The key file: made once, closed to others, and never the reason that something is lost."""

import asyncio
from pathlib import Path

import pytest

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.key_file import (
    KeyFile,
    KeyFileError,
    add_key,
)
from undercroft.kit.crypto.providers.protocol import KeyUnavailableError

SECRET, CONTEXT = bytes(range(32)), b"tenant"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "provider.key"


async def test_it_is_made_once_for_its_owner_alone(path: Path) -> None:
    opened = await asyncio.gather(*(KeyFile.open(path) for _ in range(8)))
    wrapped = await opened[0].wrap(SECRET, CONTEXT)
    for one in opened:
        assert await one.unwrap(wrapped, CONTEXT) == SECRET
        assert one.is_current(wrapped)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert SECRET not in wrapped


async def test_a_wrapped_key_opens_only_unchanged_and_in_its_context(path: Path) -> None:
    keys = await KeyFile.open(path)
    wrapped = await keys.wrap(SECRET, CONTEXT)
    for damaged in (wrapped[:-1], wrapped[:8], b"", wrapped[:20] + b"\0" + wrapped[21:]):
        with pytest.raises(DecryptionError):
            await keys.unwrap(damaged, CONTEXT)
    with pytest.raises(DecryptionError):
        await keys.unwrap(wrapped, b"another tenant")


async def test_a_new_key_wraps_and_the_old_one_still_opens(path: Path) -> None:
    old = await (await KeyFile.open(path)).wrap(SECRET, CONTEXT)
    add_key(path)
    keys = await KeyFile.open(path)
    new = await keys.wrap(SECRET, CONTEXT)
    assert not keys.is_current(old)
    assert keys.is_current(new)
    assert await keys.unwrap(old, CONTEXT) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
async def test_a_file_open_to_others_is_refused_with_what_to_do(path: Path, mode: int) -> None:
    await KeyFile.open(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        await KeyFile.open(path)


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"nonsense", b"00" * 8 + b" AAAA", b"zz" * 8 + b" " + b"A" * 44, b"\xff\xfe"],
)
async def test_a_malformed_file_is_refused_and_not_quoted(path: Path, text: bytes) -> None:
    await KeyFile.open(path)
    path.write_bytes(text)
    with pytest.raises(KeyFileError, match="malformed") as caught:
        await KeyFile.open(path)
    assert "AAAA" not in str(caught.value)
    assert path.read_bytes() == text


async def test_what_is_no_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(KeyFileError, match="Is a directory"):
        await KeyFile.open(path)
    path.rmdir()
    elsewhere = path.with_name("elsewhere")
    await KeyFile.open(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(KeyFileError, match="cannot be read"):
        await KeyFile.open(path)


async def test_keys_are_not_in_texts(path: Path) -> None:
    keys = await KeyFile.open(path)
    encoded = path.read_text().split()[1]
    assert encoded not in repr(keys.__dict__)


async def test_keys_added_at_once_are_all_kept(path: Path) -> None:
    await KeyFile.open(path)
    await asyncio.gather(*(asyncio.to_thread(add_key, path) for _ in range(12)))
    assert len(path.read_text().splitlines()) == 13


async def test_a_key_from_another_file_is_missing(path: Path) -> None:
    wrapped = await (await KeyFile.open(path)).wrap(SECRET, CONTEXT)
    other = await KeyFile.open(path.with_name("another.key"))
    with pytest.raises(KeyUnavailableError, match="Put back the file"):
        await other.unwrap(wrapped, CONTEXT)

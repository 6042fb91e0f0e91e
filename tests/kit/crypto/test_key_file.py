"""The key file: made once, closed to others, and never the reason that something is lost."""

import asyncio
import errno
import fcntl
import os
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


def beside(path: Path) -> list[str]:
    """Files that hold keys and are not the key file."""
    lock = f".{path.name}.lock"
    return [file.name for file in path.parent.iterdir() if file.name not in {path.name, lock}]


async def never() -> bool:
    return False


async def test_it_is_made_once_for_its_owner_alone(path: Path) -> None:
    made: list[bytes] = []
    all_found_none = asyncio.Barrier(8)

    def entropy(count: int) -> bytes:
        made.append(os.urandom(count))
        return made[-1]

    async def may_create() -> bool:
        await all_found_none.wait()
        return True

    opened = await asyncio.gather(
        *(KeyFile.open(path, entropy, may_create=may_create) for _ in range(8))
    )
    assert [len(part) for part in made] == [8, 32]
    wrapped = await opened[0].wrap(SECRET, CONTEXT)
    for one in opened:
        assert await one.unwrap(wrapped, CONTEXT) == SECRET
        assert one.is_current(wrapped)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert beside(path) == []
    assert SECRET not in wrapped


async def test_what_is_no_wrapped_key_is_no_missing_key(path: Path) -> None:
    keys = await KeyFile.open(path)
    wrapped = await keys.wrap(SECRET, CONTEXT)
    altered = wrapped[:20] + bytes([wrapped[20] ^ 1]) + wrapped[21:]
    for damaged in (wrapped[:-1], wrapped[:8], b"", altered):
        with pytest.raises(DecryptionError):
            await keys.unwrap(damaged, CONTEXT)


async def test_a_closed_file_is_read_once_something_needs_it(path: Path) -> None:
    """It may be made by another process meanwhile, to which the keys are moving."""
    keys = KeyFile.closed(path)
    with pytest.raises(KeyUnavailableError) as caught:
        await keys.unwrap(bytes(68), CONTEXT)
    assert caught.value.code == "key_unavailable"
    assert not path.exists()
    wrapped = await (await KeyFile.open(path)).wrap(SECRET, CONTEXT)
    assert not keys.is_current(wrapped)
    assert await keys.unwrap(wrapped, CONTEXT) == SECRET
    assert keys.is_current(wrapped)


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


async def test_a_missing_file_is_not_made_where_something_was_wrapped(path: Path) -> None:
    with pytest.raises(KeyFileError, match="Put back your copy"):
        await KeyFile.open(path, may_create=never)
    assert not path.exists()
    await KeyFile.open(path)
    await KeyFile.open(path, may_create=never)


async def test_a_file_that_another_process_makes_meanwhile_is_taken(path: Path) -> None:
    made: list[KeyFile] = []

    async def find_what_another_wrapped() -> bool:
        made.append(await KeyFile.open(path))
        return False

    opened = await KeyFile.open(path, may_create=find_what_another_wrapped)
    assert await opened.unwrap(await made[0].wrap(SECRET, CONTEXT), CONTEXT) == SECRET


async def test_copies_that_a_crash_left_are_removed_but_not_a_living_one(path: Path) -> None:
    await KeyFile.open(path)
    left = path.with_name(f".{path.name}.1234.new")
    left.write_bytes(path.read_bytes())
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Whoever holds the lock is writing: its copy is about to get the name of the file.
        opening = asyncio.create_task(KeyFile.open(path))
        done, _ = await asyncio.wait([opening], timeout=0.2)
        assert not done
        assert left.exists()
    await opening
    assert beside(path) == []


async def test_a_copy_that_could_not_be_written_is_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await KeyFile.open(path)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="full"):
            add_key(path)
    assert beside(path) == []


@pytest.mark.parametrize("trouble", ["open to others", "missing", "malformed"])
async def test_a_file_that_turns_bad_while_serving_is_unavailable(path: Path, trouble: str) -> None:
    keys = await KeyFile.open(path)
    wrapped = await keys.wrap(SECRET, CONTEXT)
    match trouble:
        case "open to others":
            path.chmod(0o640)
        case "missing":
            path.unlink()
        case _:
            path.write_text("nonsense")
    for refused in (keys.wrap(SECRET, CONTEXT), keys.unwrap(bytes(100), CONTEXT)):
        with pytest.raises(KeyUnavailableError) as caught:
            await refused
        assert (caught.value.status, caught.value.code) == (503, "key_unavailable")
        assert str(path) not in caught.value.message
    # What needs no other key than those in memory goes on.
    assert await keys.unwrap(wrapped, CONTEXT) == SECRET

"""Streams: Tink's format byte for byte, read in any order, and nothing can be moved, cut or added unnoticed."""

import io
import os

import pytest

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.segments import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SegmentDecryptor,
    SegmentReader,
    SegmentWriter,
    ciphertext_length,
    plaintext_length,
)

KEY, CONTEXT = bytes(range(32)), b"place"
FIRST = SEGMENT_BYTES - HEADER_BYTES - 16
EDGES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + SEGMENT_BYTES - 16, 5 * SEGMENT_BYTES]


def encrypt(content: bytes, block: int = 100_000) -> bytes:
    target = io.BytesIO()
    writer = SegmentWriter(target, KEY, CONTEXT)
    for start in range(0, len(content), block):
        writer.write(content[start : start + block])
    writer.finish()
    return target.getvalue()


def reader(
    ciphertext: bytes, key: bytes = KEY, context: bytes = CONTEXT, length: int | None = None
) -> SegmentReader:
    return SegmentReader(
        lambda start, count: ciphertext[start : start + count],
        len(ciphertext) if length is None else length,
        key,
        context,
    )


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("block", [1000, SEGMENT_BYTES, 1_000_000])
def test_a_stream_comes_back(size: int, block: int) -> None:
    content = os.urandom(size)
    ciphertext = encrypt(content, block)
    assert len(ciphertext) == ciphertext_length(size)
    assert plaintext_length(len(ciphertext)) == size
    assert reader(ciphertext).read() == content


def test_it_is_read_in_any_order() -> None:
    content = os.urandom(4 * SEGMENT_BYTES)
    file = io.BufferedReader(reader(encrypt(content)))
    for start in (len(content) - 3, 0, FIRST - 2, 2 * SEGMENT_BYTES, 1):
        file.seek(start)
        assert file.read(70_000) == content[start : start + 70_000]
    assert file.seek(-4, io.SEEK_END) == len(content) - 4
    with pytest.raises(ValueError, match="before the beginning"):
        reader(encrypt(content)).seek(-1)


def damaged(ciphertext: bytes) -> dict[str, bytes]:
    middle = slice(SEGMENT_BYTES, 2 * SEGMENT_BYTES)
    return {
        "last segment gone": ciphertext[: 2 * SEGMENT_BYTES],
        "last byte gone": ciphertext[:-1],
        "a byte more": ciphertext + b"\0",
        "a segment gone": ciphertext[:SEGMENT_BYTES] + ciphertext[2 * SEGMENT_BYTES :],
        "a segment twice": ciphertext[: 2 * SEGMENT_BYTES] + ciphertext[middle.start :],
        "salt": ciphertext[:5] + bytes([ciphertext[5] ^ 1]) + ciphertext[6:],
        "header": b"\x29" + ciphertext[1:],
        "only a header": ciphertext[:HEADER_BYTES],
        "nothing": b"",
        "short": ciphertext[:10],
    }


@pytest.mark.parametrize("what", list(damaged(bytes(3 * SEGMENT_BYTES))))
def test_damage_is_noticed(what: str) -> None:
    ciphertext = damaged(encrypt(os.urandom(2 * SEGMENT_BYTES + 100)))[what]
    with pytest.raises(DecryptionError):
        reader(ciphertext).read()


def test_another_key_or_place_does_not_open_it() -> None:
    for content in (b"", b"content"):
        ciphertext = encrypt(content)
        for key, context in ((bytes(32), CONTEXT), (KEY, b"elsewhere")):
            with pytest.raises(DecryptionError):
                reader(ciphertext, key, context).read()


@pytest.mark.parametrize(
    "length", [*range(HEADER_BYTES + 16), SEGMENT_BYTES + 1, SEGMENT_BYTES + 15]
)
def test_no_stream_has_that_length(length: int) -> None:
    with pytest.raises(DecryptionError):
        plaintext_length(length)


def cuts(ciphertext: bytes) -> list[int]:
    """Lengths around the end of every segment, and of the header."""
    ends = [HEADER_BYTES, *range(SEGMENT_BYTES, len(ciphertext), SEGMENT_BYTES), len(ciphertext)]
    return [end + more for end in ends for more in (-1, 0, 1) if end + more != len(ciphertext)]


@pytest.mark.parametrize("size", [2 * SEGMENT_BYTES + 100, FIRST + SEGMENT_BYTES - 16])
def test_a_stream_cut_at_any_segments_edge_never_reads_as_a_clean_end(size: int) -> None:
    ciphertext = encrypt(os.urandom(size))
    for cut in cuts(ciphertext):
        held = (ciphertext + b"?")[:cut]
        with pytest.raises(DecryptionError):
            reader(held).readall()
        if cut < len(ciphertext):
            # The length that was kept apart from it, and a ciphertext that no longer has it.
            with pytest.raises(DecryptionError):
                reader(held, length=len(ciphertext)).readall()


def test_segments_decrypt_whole_and_all_of_them_or_not_at_all() -> None:
    content = os.urandom(3 * SEGMENT_BYTES)
    ciphertext = encrypt(content)
    decryptor = SegmentDecryptor(ciphertext[:HEADER_BYTES], len(ciphertext), KEY, CONTEXT)
    start, length = decryptor.span(1, 2)
    whole = ciphertext[start : start + length]
    assert decryptor.decrypt(1, 2, whole) == content[FIRST : FIRST + 2 * (SEGMENT_BYTES - 16)]
    for cut in (b"", whole[:SEGMENT_BYTES], whole[:-1], whole[: SEGMENT_BYTES + 1], whole + b"?"):
        with pytest.raises(DecryptionError):
            decryptor.decrypt(1, 2, cut)
    for beyond in (4, 5, 9):
        with pytest.raises(DecryptionError):
            decryptor.decrypt(beyond, 1, b"")

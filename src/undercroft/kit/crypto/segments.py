"""Streams of bytes, encrypted segment by segment: constant memory, and any range can be read without the rest.

The format is the AES-GCM-HKDF streaming AEAD of Tink (docs/adr/0011), so that what we write can be read by another
implementation than ours:

    header   1 byte: its length, 40; a salt of 32 bytes; the first 7 bytes of every nonce
    segment  AES-256-GCM of up to 64 KiB less the tag; the first one is shorter by the header

A segment's key is HKDF-SHA256 of the stream's key, the salt and the context; its nonce holds its number and whether it
is the last one, so segments can be neither reordered nor cut off at the end without notice.
"""

import io
import os
import struct
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from undercroft.kit.crypto.aead import KEY_BYTES, TAG_BYTES, DecryptionError

SEGMENT_BYTES: Final = 64 * 1024
"""Length of a segment's ciphertext."""
_SALT_BYTES: Final = KEY_BYTES
_PREFIX_BYTES: Final = 7
HEADER_BYTES: Final = 1 + _SALT_BYTES + _PREFIX_BYTES
_PLAIN_BYTES: Final = SEGMENT_BYTES - TAG_BYTES
_FIRST_PLAIN_BYTES: Final = _PLAIN_BYTES - HEADER_BYTES
_MOST_SEGMENTS: Final = 1 << 32


class Target(Protocol):
    """Where ciphertext is written."""

    def write(self, block: bytes, /) -> object:
        """Take the next bytes."""
        ...


ReadAt = Callable[[int, int], bytes]
"""Answers up to so many bytes (second) of a ciphertext from an offset (first); fewer only at its end."""


def ciphertext_length(plaintext_length: int) -> int:
    """How long the ciphertext of so many bytes is."""
    return HEADER_BYTES + plaintext_length + TAG_BYTES * _segment_count(plaintext_length)


def plaintext_length(ciphertext_bytes: int) -> int:
    """How many bytes a ciphertext of that length holds.

    Raises:
        DecryptionError: When no ciphertext has that length.
    """
    body = ciphertext_bytes - HEADER_BYTES
    # The header takes its room from the first segment, so segment ends lie at multiples of SEGMENT_BYTES in the whole.
    segments = -(-ciphertext_bytes // SEGMENT_BYTES)
    length = body - TAG_BYTES * segments
    if length < 0 or ciphertext_length(length) != ciphertext_bytes:
        raise DecryptionError
    return length


class SegmentWriter:
    """Encrypts what is written to it. Call :meth:`finish` at the end: without it the stream does not decrypt.

    Args:
        target: Where the ciphertext goes.
        key: 32 bytes, for this stream alone.
        context: What the stream is bound to.
    """

    def __init__(self, target: Target, key: bytes, context: bytes) -> None:
        salt, self._prefix = os.urandom(_SALT_BYTES), os.urandom(_PREFIX_BYTES)
        self._cipher = _derive(key, salt, context)
        self._target = target
        self._waiting = bytearray()
        self._number = 0
        target.write(bytes([HEADER_BYTES]) + salt + self._prefix)

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        self._waiting += block
        # A full segment waits until more follows: only then is it known not to be the last.
        start, length = 0, self._room()
        while len(self._waiting) - start > length:
            self._emit(bytes(self._waiting[start : start + length]), is_last=False)
            start += length
            length = self._room()
        del self._waiting[:start]

    def finish(self) -> None:
        """Write the last segment."""
        self._emit(bytes(self._waiting), is_last=True)
        self._waiting.clear()

    def _room(self) -> int:
        return _PLAIN_BYTES if self._number else _FIRST_PLAIN_BYTES

    def _emit(self, plaintext: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._prefix, self._number, is_last=is_last)
        self._target.write(self._cipher.encrypt(nonce, plaintext, None))
        self._number += 1


class SegmentDecryptor:
    """Decrypts the segments of one stream, in any order.

    Args:
        header: The stream's first ``HEADER_BYTES`` bytes.
        length: Length of the whole ciphertext, in bytes.
        key: The stream's key.
        context: What the stream is bound to.

    Raises:
        DecryptionError: When no stream has that header or length.
    """

    def __init__(self, header: bytes, length: int, key: bytes, context: bytes) -> None:
        if len(header) != HEADER_BYTES or header[0] != HEADER_BYTES:
            raise DecryptionError
        self.length = plaintext_length(length)
        """Length of the plaintext, in bytes."""
        self._cipher = _derive(key, header[1 : 1 + _SALT_BYTES], context)
        self._prefix = header[1 + _SALT_BYTES :]
        self._cipher_length = length
        self._last = _segment_count(self.length) - 1

    @staticmethod
    def locate(position: int) -> tuple[int, int]:
        """The number of the segment that holds a byte of the plaintext, and the byte's place in it."""
        if position < _FIRST_PLAIN_BYTES:
            return 0, position
        number, offset = divmod(position - _FIRST_PLAIN_BYTES, _PLAIN_BYTES)
        return number + 1, offset

    def span(self, first: int, count: int) -> tuple[int, int]:
        """Offset and length of the ciphertext of so many segments, fewer at the end."""
        # The header takes its room from the first segment.
        start = first * SEGMENT_BYTES if first else HEADER_BYTES
        return start, min((first + count) * SEGMENT_BYTES, self._cipher_length) - start

    def decrypt(self, first: int, count: int, ciphertext: bytes) -> bytes:
        """The plaintext of so many segments, whose ciphertext is what :meth:`span` names.

        Raises:
            DecryptionError: When they are not those that were written there, or not all of them.
        """
        # A ciphertext cut off between two segments holds nothing but good ones: only its length tells.
        if len(ciphertext) != self.span(first, count)[1]:
            raise DecryptionError
        pieces: list[bytes] = []
        start, number = 0, first
        while start < len(ciphertext):
            end = start + SEGMENT_BYTES - (0 if number else HEADER_BYTES)
            nonce = _nonce(self._prefix, number, is_last=number == self._last)
            try:
                pieces.append(self._cipher.decrypt(nonce, ciphertext[start:end], None))
            except (InvalidTag, ValueError) as error:
                raise DecryptionError from error
            start, number = end, number + 1
        return b"".join(pieces)


class SegmentReader(io.RawIOBase):
    """The plaintext of an encrypted stream, as a seekable file that decrypts what is read of it.

    Args:
        read_at: Reads the ciphertext.
        length: Length of the ciphertext, in bytes.
        key: The stream's key.
        context: What the stream is bound to.

    Raises:
        DecryptionError: Here and on reading, when the stream is not what was written with that key and context.
    """

    def __init__(self, read_at: ReadAt, length: int, key: bytes, context: bytes) -> None:
        super().__init__()
        self._decryptor = SegmentDecryptor(read_at(0, HEADER_BYTES), length, key, context)
        self._read_at = read_at
        self._position = 0
        self._open_number = -1
        self._open_segment = b""
        if self._decryptor.length == 0:
            self._segment(0)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Choose where the next read begins."""
        length = self._decryptor.length
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: length}[whence]
        if start + offset < 0:
            raise ValueError("a position before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # any writable buffer
        """Decrypt from here to the end of the segment, or as much as the buffer takes."""
        if self._position >= self._decryptor.length or not len(buffer):
            return 0
        number, offset = self._decryptor.locate(self._position)
        piece = self._segment(number)[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _segment(self, number: int) -> bytes:
        if number != self._open_number:
            ciphertext = self._read_at(*self._decryptor.span(number, 1))
            self._open_segment = self._decryptor.decrypt(number, 1, ciphertext)
            self._open_number = number
        return self._open_segment


def _derive(key: bytes, salt: bytes, context: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, context).derive(key))


def _nonce(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    if number >= _MOST_SEGMENTS:
        raise OverflowError("a stream of more than 256 TiB")
    return prefix + struct.pack(">IB", number, is_last)


def _segment_count(length: int) -> int:
    rest = max(length - _FIRST_PLAIN_BYTES, 0)
    return 1 + -(-rest // _PLAIN_BYTES)

"""Streams against Tink's own AES-GCM-HKDF streaming AEAD: each reads what the other wrote."""

# pyright: reportAttributeAccessIssue=false
# Tink makes the classes of its messages when it is imported.

import io
import os
from typing import Final

import pytest
import tink
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.segments import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SegmentReader,
    SegmentWriter,
)

KEY: Final = bytes(range(32))
FIRST: Final = SEGMENT_BYTES - HEADER_BYTES - 16
SIZES: Final = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + SEGMENT_BYTES - 16, 300_000]
CONTEXTS: Final = [b"", b"place", bytes(range(256))]


class Unclosed(io.BytesIO):
    """Keeps its bytes when Tink closes it."""

    def close(self) -> None:
        """Stay open."""


@pytest.fixture(scope="module")
def theirs() -> streaming_aead.StreamingAead:
    """Tink with our key and our parameters."""
    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        key_value=KEY,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=SEGMENT_BYTES,
            derived_key_size=32,
            hkdf_hash_type=common_pb2.SHA256,
        ),
    )
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    keyset = tink_pb2.Keyset(
        primary_key_id=1,
        key=[
            tink_pb2.Keyset.Key(
                key_data=data,
                status=tink_pb2.ENABLED,
                key_id=1,
                output_prefix_type=tink_pb2.RAW,
            )
        ],
    )
    handle = cleartext_keyset_handle.read(tink.BinaryKeysetReader(keyset.SerializeToString()))
    return handle.primitive(streaming_aead.StreamingAead)


def ours(content: bytes, context: bytes) -> bytes:
    target = io.BytesIO()
    writer = SegmentWriter(target, KEY, context)
    writer.write(content)
    writer.finish()
    return target.getvalue()


@pytest.mark.parametrize("context", CONTEXTS, ids=len)
@pytest.mark.parametrize("size", SIZES)
def test_tink_reads_ours(theirs: streaming_aead.StreamingAead, size: int, context: bytes) -> None:
    content = os.urandom(size)
    ciphertext = ours(content, context)
    with theirs.new_decrypting_stream(io.BytesIO(ciphertext), context) as stream:
        assert stream.read() == content
    with (
        pytest.raises(tink.TinkError),
        theirs.new_decrypting_stream(io.BytesIO(ciphertext), b"elsewhere") as stream,
    ):
        stream.read()


@pytest.mark.parametrize("context", CONTEXTS, ids=len)
@pytest.mark.parametrize("size", SIZES)
def test_we_read_tinks(theirs: streaming_aead.StreamingAead, size: int, context: bytes) -> None:
    content, target = os.urandom(size), Unclosed()
    with theirs.new_encrypting_stream(target, context) as stream:
        stream.write(content)
    ciphertext = target.getvalue()

    def read_at(start: int, count: int) -> bytes:
        return ciphertext[start : start + count]

    assert SegmentReader(read_at, len(ciphertext), KEY, context).readall() == content
    with pytest.raises(DecryptionError):
        SegmentReader(read_at, len(ciphertext), KEY, b"elsewhere").readall()

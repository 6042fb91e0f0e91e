"""Notes, checkpoints and proofs, byte by byte, against values of other makers."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from undercroft.ledger.notes import (
    Signer,
    checkpoint_text,
    key_id,
    proof_text,
    sign_note,
    verifier_key,
)

# From the documentation of golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_a_verifier_key_is_that_of_the_go_library() -> None:
    public_key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    assert verifier_key("PeterNeumann", public_key) == PETER
    assert key_id("PeterNeumann", public_key).hex() == "c74f20a3"


def test_a_note_is_its_text_an_empty_line_and_a_line_for_each_signature() -> None:
    signers = [Signer.from_bytes("example.com/log", bytes([number] * 32)) for number in (1, 2)]
    text = checkpoint_text("example.com/log", 12, hashlib.sha256(b"").digest())
    assert text == "example.com/log\n12\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    note = sign_note(text, signers)
    head, _, tail = note.rpartition("\n\n")
    assert head + "\n" == text
    lines = tail.splitlines()
    assert len(lines) == 2
    assert note.endswith("\n")
    for line, signer in zip(lines, signers, strict=True):
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        assert (dash, name) == ("—", "example.com/log")
        assert signature[:4] == key_id(signer.name, signer.public_key)
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signature[4:], text.encode())


def test_a_proof_is_lines_then_the_checkpoint_as_it_is() -> None:
    proof = proof_text(7, [bytes(32), b"\xff" * 32], "origin\n9\nroot\n\n— sig\n")
    assert proof == (
        "c2sp.org/tlog-proof@v1\nindex 7\n"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "//////////////////////////////////////////8=\n"
        "\norigin\n9\nroot\n\n— sig\n"
    )
    assert proof_text(0, [], "c\n") == "c2sp.org/tlog-proof@v1\nindex 0\n\nc\n"

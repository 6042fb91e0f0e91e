"""Project Wycheproof's vectors against the primitives as they are configured here."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from undercroft.kit.crypto.aead import DecryptionError, seal, unseal


def vectors(name: str) -> list[Any]:
    path = Path(__file__).parent / "vectors" / f"{name}.json"
    groups = json.loads(path.read_text(encoding="utf-8"))["testGroups"]
    return [(group, case) for group in groups for case in group["tests"]]


def bytes_of(case: dict[str, str], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def test_aes_gcm(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = vectors("aes_gcm")
    assert len(cases) > 50
    for _, case in cases:
        key, nonce, context, text, ciphertext, tag = bytes_of(
            case, "key", "iv", "aad", "msg", "ct", "tag"
        )
        sealed = nonce + ciphertext + tag
        if case["result"] == "invalid":
            with pytest.raises(DecryptionError):
                unseal(key, sealed, context)
            continue
        assert unseal(key, sealed, context) == text, case["tcId"]
        monkeypatch.setattr("os.urandom", {len(nonce): nonce}.__getitem__)
        assert seal(key, text, context) == sealed, case["tcId"]


def test_hkdf() -> None:
    cases = vectors("hkdf_sha256")
    assert len(cases) > 50
    for _, case in cases:
        material, salt, info, expected = bytes_of(case, "ikm", "salt", "info", "okm")
        assert HKDF(SHA256(), case["size"], salt, info).derive(material) == expected, case["tcId"]


def test_ed25519() -> None:
    cases = vectors("ed25519")
    assert len(cases) > 100
    for group, case in cases:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"]["pk"]))
        text, signature = bytes_of(case, "msg", "sig")
        if case["result"] == "valid":
            key.verify(signature, text)
        # "acceptable" is left to implementations: signatures by keys that no honest signer has.
        if case["result"] != "invalid":
            continue
        with pytest.raises(InvalidSignature):
            key.verify(signature, text)

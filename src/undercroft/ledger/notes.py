"""Signed checkpoints and proofs as text: C2SP signed-note (Ed25519), tlog-checkpoint and tlog-proof@v1."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key under a name.

    Attributes:
        name: Of the key: the log's origin, without spaces and plus signs.
    """

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def from_bytes(cls, name: str, private_key: bytes) -> "Signer":
        """The signer of the 32 bytes of a private key."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(private_key))

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.key.public_key().public_bytes_raw()


def key_id(name: str, public_key: bytes) -> bytes:
    """The 4 bytes that tell a name's keys apart."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def verifier_key(name: str, public_key: bytes) -> str:
    """A public key as verifiers take it: name, key ID and key, with plus signs between them."""
    encoded = base64.b64encode(_ED25519 + public_key).decode()
    return f"{name}+{key_id(name, public_key).hex()}+{encoded}"


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """The text of a checkpoint, which is what is signed."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign_note(text: str, signers: Sequence[Signer]) -> str:
    """A note: the text, an empty line, and a line for each signature."""
    return text + "\n" + "".join(_signature_line(text, signer) for signer in signers)


def _signature_line(text: str, signer: Signer) -> str:
    signature = key_id(signer.name, signer.public_key) + signer.key.sign(text.encode())
    return f"— {signer.name} {base64.b64encode(signature).decode()}\n"


def proof_text(index: int, path: Sequence[bytes], checkpoint: str) -> str:
    """A self-contained proof that the entry at ``index`` is in the checkpoint's tree."""
    hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in path)
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{checkpoint}"

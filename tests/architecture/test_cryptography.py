"""No source names a broken hash, cipher or mode, and none takes secrets from a predictable source."""

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.test_files import ROOT

BROKEN: Final = frozenset(
    {"md5", "sha1", "CBC", "ECB", "ARC4", "Blowfish", "TripleDES", "PKCS1v15"}
)
ALLOWED: Final = {
    # The checksum that OpenAI's upload interface has; the content is authenticated by its encryption.
    ("http/openai/uploads.py", "md5"),
    ("vault/uploads/parts.py", "md5"),
    # Of one-time passwords, as an HMAC: authenticator apps know no other.
    ("identity/second_factors/totp.py", "sha1"),
}
PREDICTABLE: Final = "random"
MAY_DRAW: Final = frozenset({"random"})
"""Of the module ``random``, what waits are spread with; and no choice, no bytes, no bits."""


def find_weaknesses(root: Path) -> set[tuple[str, str]]:
    """The files below a folder, and what each names that is broken or predictable."""
    return {
        (path.relative_to(root).as_posix(), name)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (name := _weakness(node)) is not None
    }


def _weakness(node: ast.AST) -> str | None:
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module == PREDICTABLE:
            return None if name in MAY_DRAW else f"{PREDICTABLE}.{name}"
        case ast.ImportFrom(module=module) if module == PREDICTABLE:
            return PREDICTABLE
        case ast.Attribute(attr=name) | ast.alias(name=name):
            return next((one for one in BROKEN if one.lower() == name.lower()), None)
        case _:
            return None


def test_no_source_uses_broken_cryptography() -> None:
    assert find_weaknesses(ROOT / "src/undercroft") == ALLOWED


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("hashlib.md5(b'')", "md5"),
        ("from hashlib import sha1", "sha1"),
        ("Cipher(AES(key), modes.ECB())", "ECB"),
        ("from cryptography.hazmat.primitives.hashes import MD5", "md5"),
        ("key = random.randbytes(32)", "random.randbytes"),
        ("from random import choices", "random"),
    ],
)
def test_each_weakness_is_found(tmp_path: Path, source: str, found: str) -> None:
    (tmp_path / "module.py").write_text(source)
    assert find_weaknesses(tmp_path) == {("module.py", found)}

"""A small writer of logs, straight from the specifications: for tests that must not trust the service's own."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LOG: Final = 32 * "7"
ORIGIN: Final = f"undercroft.example/ledger/{LOG}"


@dataclass(frozen=True)
class LogKey:
    """Signs notes, and says how its signatures are verified."""

    name: str
    private: Ed25519PrivateKey

    @property
    def id(self) -> bytes:
        material = self.name.encode() + b"\n\x01" + self.private.public_key().public_bytes_raw()
        return sha256(material).digest()[:4]

    @property
    def verifier(self) -> str:
        material = b"\x01" + self.private.public_key().public_bytes_raw()
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(material).decode()}"

    def sign(self, text: str) -> str:
        value = self.id + self.private.sign(text.encode())
        return f"— {self.name} {base64.b64encode(value).decode()}\n"


def make_key(seed: int = 1, name: str = ORIGIN) -> LogKey:
    return LogKey(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def make_entry(number: int, *, log: str = LOG, **changes: object) -> bytes:
    """A different entry for each number; a change of None leaves a field out."""
    fields: dict[str, Any] = {
        "action": "document.read",
        "actor": sha256(b"actor %d" % number).hexdigest(),
        "id": f"entry_{number:032x}",
        "log": log,
        "outcome": "denied" if number % 7 == 0 else "allowed",
        "resource": sha256(b"resource %d" % number).hexdigest(),
        "time": f"2026-11-24T14:05:{number % 60:02}.{number % 1_000_000:06}Z",
        "v": 1,
    }
    if number % 3 == 0:
        fields["content"] = sha256(b"content %d" % number).hexdigest()
        fields["version"] = number + 1
    return encode({name: value for name, value in (fields | changes).items() if value is not None})


def encode(value: Mapping[str, Any]) -> bytes:
    """Canonical for names in ASCII."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def tree_hash(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, by its definition, of leaves that are hashed already."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_hash(hashes[:half]) + tree_hash(hashes[half:])).digest()


def inclusion_path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, by its definition."""
    if len(hashes) == 1:
        return []
    half = 1 << (len(hashes) - 1).bit_length() - 1
    if index < half:
        return [*inclusion_path(index, hashes[:half]), tree_hash(hashes[half:])]
    return [*inclusion_path(index - half, hashes[half:]), tree_hash(hashes[:half])]


def checkpoint(entries: Sequence[bytes], key: LogKey, origin: str = ORIGIN) -> str:
    return checkpoint_of([leaf_hash(entry) for entry in entries], key, origin)


def checkpoint_of(hashes: Sequence[bytes], key: LogKey, origin: str = ORIGIN) -> str:
    """Of a log with these leaf hashes."""
    text = f"{origin}\n{len(hashes)}\n{base64.b64encode(tree_hash(hashes)).decode()}\n"
    return f"{text}\n{key.sign(text)}"


def proof(index: int, entries: Sequence[bytes], key: LogKey, extra: bytes = b"") -> str:
    """Of the entry at a position, by a checkpoint of all of them."""
    path = inclusion_path(index, [leaf_hash(entry) for entry in entries])
    lines = ["c2sp.org/tlog-proof@v1"]
    if extra:
        lines.append(f"extra {base64.b64encode(extra).decode()}")
    lines += [f"index {index}", *(base64.b64encode(digest).decode() for digest in path)]
    return "\n".join(lines) + "\n\n" + checkpoint(entries, key)


def tile_name(number: int) -> str:
    text = f"{number:0{max(3, -(-len(str(number)) // 3) * 3)}}"
    groups = [text[at : at + 3] for at in range(0, len(text), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def write_tiles(folder: Path, entries: Iterable[bytes]) -> list[bytes]:
    """Everything of a mirror but its checkpoint; the leaf hashes. Entries are taken one tile at a time."""
    waiting, hashes = iter(entries), list[bytes]()
    while part := list(islice(waiting, 256)):
        path = _tile_path(folder / "tile" / "entries", len(hashes) // 256, len(part))
        path.write_bytes(bundle(part))
        hashes += map(leaf_hash, part)
    row, level = hashes, 0
    while row:
        _write_row(folder / "tile" / str(level), row)
        full = range(0, len(row) - 255, 256)
        row, level = [tree_hash(row[at : at + 256]) for at in full], level + 1
    return hashes


def write_mirror(folder: Path, entries: Sequence[bytes], key: LogKey, origin: str = ORIGIN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_tiles(folder, entries)
    (folder / "checkpoint").write_text(checkpoint(entries, key, origin), encoding="utf-8")
    return folder


def bundle(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def write_bundle(
    folder: Path,
    entries: Sequence[bytes],
    key: LogKey,
    *,
    proved: Sequence[int] = (),
    documents: Mapping[str, bytes] | None = None,
    claims: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """An export; ``claims`` are the further fields of documents' lines in the manifest."""
    write_mirror(folder / "log", entries, key)
    for name in ("proofs", "entries"):
        (folder / name).mkdir()
    for index in proved:
        identifier = json.loads(entries[index])["id"]
        text = proof(index, entries, key)
        (folder / "proofs" / f"{identifier}.tlog-proof").write_text(text, encoding="utf-8")
        (folder / "entries" / f"{identifier}.json").write_bytes(entries[index])
    for name, content in (documents or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_manifest(folder, claims or {})
    return folder


def write_manifest(folder: Path, claims: Mapping[str, Mapping[str, str]] | None = None) -> None:
    lines = [
        {
            "path": name,
            "sha256": sha256((folder / name).read_bytes()).hexdigest(),
            "size": (folder / name).stat().st_size,
            **(claims or {}).get(name, {}),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (name := path.relative_to(folder).as_posix()) != "manifest.json"
    ]
    (folder / "manifest.json").write_bytes(encode({"files": lines, "v": 1}))


def _write_row(folder: Path, row: Sequence[bytes]) -> None:
    for number, start in enumerate(range(0, len(row), 256)):
        part = row[start : start + 256]
        _tile_path(folder, number, len(part)).write_bytes(b"".join(part))


def _tile_path(folder: Path, number: int, width: int) -> Path:
    path = folder / (tile_name(number) + ("" if width == 256 else f".p/{width}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

"""What two other implementations make of a mirrored log, and a log that one of them writes; run by their own Python.

``python references_program.py read FOLDER KEY SIZES`` and ``... write FOLDER NAME SEED ENTRIES``; answers JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

# In an environment of their own: see tests/ledger/references.txt.
import aics_tlog  # pyright: ignore[reportMissingImports]
import pymerkle  # pyright: ignore[reportMissingImports]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def read(folder: Path, key: str, sizes: list[int]) -> dict[str, Any]:
    """Roots and proofs as both implementations derive them, and what they say of the checkpoint and the tiles."""
    text = (folder / "checkpoint").read_bytes()
    verified = aics_tlog.verify_checkpoint(
        aics_tlog.parse_note(text.decode()), aics_tlog.parse_vkey(key)
    )
    reader = aics_tlog.FileSystemTileReader(folder)
    size = verified.size
    aics_tlog.audit_tiles(reader, size, verified.root)
    entries = [aics_tlog.read_entry(reader, index, size) for index in range(size)]
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    return {
        "signed": verified.log_ok,
        "size": size,
        "roots": {
            at: [
                aics_tlog.tree_root_from_tiles(reader, at, size).hex(),
                tree.get_root(at).hex(),
            ]
            for at in sizes
        },
        "paths": {
            at - 1: [
                digest.hex()
                for digest in aics_tlog.inclusion_proof_from_tiles(reader, at - 1, size)
            ]
            for at in sizes
        },
    }


def write(folder: Path, name: str, seed: int, entries: Path) -> dict[str, Any]:
    """A signed log of the entries, one a line."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    store = aics_tlog.DirectoryTileStore(folder)
    writer = aics_tlog.IncrementalTileWriter(store)
    writer.append(entries.read_bytes().splitlines())
    checkpoint = aics_tlog.Checkpoint(name, writer.size, writer.root())
    store.write_checkpoint(aics_tlog.sign_checkpoint(checkpoint, key, name).to_bytes())
    return {"key": aics_tlog.format_vkey(aics_tlog.vkey_from_ed25519(name, key.public_key()))}


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "read":
        answer = read(Path(where), rest[0], [int(size) for size in rest[1].split(",")])
    else:
        answer = write(Path(where), rest[0], int(rest[1]), Path(rest[2]))
    sys.stdout.write(json.dumps(answer))

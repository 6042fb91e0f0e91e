"""Which modules can open a connection, and who says where to: none takes an address from a prompt or an answer."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.architecture.test_files import ROOT

OPENERS: Final = frozenset(
    {
        *(
            "aiohttp",
            "aiosmtplib",
            "asyncpg",
            "ftplib",
            "grpc",
            "httpx",
            "httpx2",
            "obstore",
            "openai",
            "qdrant_client",
        ),
        *("requests", "smtplib", "socket", "socketserver", "telnetlib", "urllib3", "websockets"),
        *("http.client", "urllib.request", "xmlrpc"),
    }
)
"""Modules that connect to other machines, or to this one."""
PATHS: Final = {
    # Model servers: of the operator's settings alone (upstreams).
    "chat/providers/anthropic.py",
    "chat/providers/configured.py",
    "chat/providers/openai_compatible.py",
    "chat/providers/patient_body.py",
    "chat/providers/upstream.py",
    "chat/providers/upstream_provider.py",
    # Remote tools: named by whoever asks, never by a prompt; the guarded client. What is sent is decided call by call.
    "chat/tools/client.py",
    # Embedding servers: of the operator's settings alone.
    "retrieval/embedding/configured.py",
    "retrieval/embedding/remote.py",
    # Rerankers: of the operator's settings alone. An external one is sent no passage that may not leave.
    "retrieval/reranking/configured.py",
    "retrieval/reranking/remote.py",
    "http/wiring/foundation.py",
    # Qdrant: of the operator's settings alone. What is sent is vectors, and ids of passages and tenants.
    "retrieval/vectors/configured.py",
    "retrieval/vectors/points.py",
    # Webhooks: registered by a tenant's admin; the guarded client. What is sent holds ids and no content.
    "notifications/sender.py",
    # Key sets of issuers: registered by a tenant's admin; the guarded client. A GET without a body.
    "identity/issuers/fetching.py",
    # Blobs and the key provider: of the operator's settings alone; what is sent is ciphertext and wrapped keys.
    "vault/blobs/s3.py",
    "kit/crypto/providers/kms_client.py",
    # Letters: to addresses of users and grantees, by the operator's server; texts of the service's own.
    "kit/mail/smtp.py",
    # The two clients that the above are given.
    "kit/egress.py",
}
"""The ways out."""
INWARD: Final = frozenset({"commands", "kit/postgres", "retrieval/parsing"})
"""The command line, which a person runs; the embedded database; pipes to the parsers' sandbox."""


def openers(path: Path) -> Iterator[str]:
    """What a source imports that connects."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                imported = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                imported = [module, *(f"{module}.{name.name}" for name in names)]
            case ast.Attribute(attr="open_connection" | "create_connection" as name):
                yield name
                continue
            case _:
                continue
        for name in imported:
            parts = name.split(".")
            if parts[0] in OPENERS or ".".join(parts[:2]) in OPENERS:
                yield name


def find_ways_out(root: Path) -> set[str]:
    """The sources below a folder that connect, but to PostgreSQL."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if set(openers(path)) - {"asyncpg"} and not _is_database(set(openers(path)))
    }


def _is_database(names: set[str]) -> bool:
    return all(name.split(".")[0] == "asyncpg" for name in names)


def test_every_way_out_is_listed() -> None:
    found = find_ways_out(ROOT / "src/undercroft")
    inward = {each for each in found if each.startswith(tuple(f"{part}/" for part in INWARD))}
    # What serves takes connections, and opens none.
    assert found - inward - {"http/protocol.py", "http/socket_protocol.py"} == PATHS


def test_a_new_way_out_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from urllib.request import urlopen\n")
    (tmp_path / "b.py").write_text("import asyncio\nasyncio.open_connection('a', 1)\n")
    (tmp_path / "c.py").write_text(
        "from asyncpg import Record\nfrom urllib.parse import urlsplit\n"
    )
    assert find_ways_out(tmp_path) == {"a.py", "b.py"}
